/* gc_version.h -- the version of the interface. */
#include "gc.h"
