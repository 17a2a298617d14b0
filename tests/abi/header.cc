/* header.cc -- gcmalloc.h and gcmalloc.hpp, with all warnings, in C++11. */
#include "gcmalloc.hpp"

#include <cstdio>
#include <cstdlib>

int main()
{
    gcmalloc_stats s;
    s.size = sizeof s;
    {
        gcmalloc::disabled off;
        if (gcmalloc_active() && (gcmalloc_collect() == 0 || errno != EAGAIN))
            return 1;
    }
    {
        int *block = static_cast<int *>(std::malloc(sizeof(int)));
        gcmalloc::weak<int> none, first(block), second(std::move(first));
        if (none.get() != nullptr || first.get() != nullptr || second.get() != block)
            return 1;
        none = std::move(second);
        if (none.get() != block || gcmalloc_set_finalizer(block, nullptr, nullptr) != gcmalloc_active() - 1)
            return 1;
        std::free(block);
        if (none.get() != (gcmalloc_active() ? nullptr : block))
            return 1;
    }
    bool there = gcmalloc_read_stats(&s) == 0;
    std::puts(there == (gcmalloc_active() != 0) ? "done" : "odd");
}
