import CLinux
import COpenSSL
import CPCRE2
import Wire
