/* gc_allocator.h -- containers of C++ whose memory is collectible, or is searched and never
 * collected (traceable). C++11. Memory of types that hold no pointers is searched, too. */
#ifndef GC_ALLOCATOR_H
#define GC_ALLOCATOR_H

#include "gc_cpp.h"

template <class T, bool traceable> struct gc_allocator_of {
    typedef T value_type;
    template <class U> struct rebind {
        typedef gc_allocator_of<U, traceable> other;
    };
    gc_allocator_of() noexcept {}
    template <class U> gc_allocator_of(const gc_allocator_of<U, traceable> &) noexcept {}
    T *allocate(size_t count)
    {
        if (count > static_cast<size_t>(-1) / sizeof(T))
            throw std::bad_alloc();
        return static_cast<T *>(GC_NS_QUALIFY(gc_allocate)(
            count * sizeof(T), traceable ? GC_NS_QUALIFY(NoGC) : GC_NS_QUALIFY(UseGC)));
    }
    void deallocate(T *block, size_t) noexcept { GC_FREE(block); }
};
template <class T, class U, bool t>
inline bool operator==(const gc_allocator_of<T, t> &, const gc_allocator_of<U, t> &)
{
    return true;
}
template <class T, class U, bool t>
inline bool operator!=(const gc_allocator_of<T, t> &, const gc_allocator_of<U, t> &)
{
    return false;
}
template <class T> using gc_allocator = gc_allocator_of<T, false>;
template <class T> using traceable_allocator = gc_allocator_of<T, true>;

#endif
