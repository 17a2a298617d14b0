/* header.cc -- gcmalloc.h and gcmalloc.hpp, with all warnings, in C++11. */
#include "gcmalloc.hpp"

#include <cstdio>

int main()
{
    gcmalloc_stats s;
    s.size = sizeof s;
    {
        gcmalloc::disabled off;
        if (gcmalloc_active() && (gcmalloc_collect() == 0 || errno != EAGAIN))
            return 1;
    }
    bool there = gcmalloc_read_stats(&s) == 0;
    std::puts(there == (gcmalloc_active() != 0) ? "done" : "odd");
}
