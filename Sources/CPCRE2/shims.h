// libpcre2, 8-bit code units, with its width-suffixed names under plain ones.
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
