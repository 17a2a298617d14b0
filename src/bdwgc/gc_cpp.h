/* gc_cpp.h -- Boehm's collector for C++: collectible classes, and placement new. C++11.
 *
 *   class A : public gc             new A is collectible; delete frees it at once
 *   class B : public gc_cleanup     … and its destructor is called when it is found unreachable
 *   new (UseGC) T, new (NoGC) T, new (PointerFreeGC) T, new (UseGC, cleanup, data) T
 *
 * What a plain new returns is collected as well, for it is malloc's. */
#ifndef GC_CPP_H
#define GC_CPP_H

#include "gc.h"

#include <new>

#ifdef GC_NAMESPACE
#define GC_NS_QUALIFY(name) boehmgc::name
namespace boehmgc {
#else
#define GC_NS_QUALIFY(name) name
#endif

enum GCPlacement {
    UseGC,
#ifndef GC_NAME_CONFLICT
    GC = UseGC,
#endif
    NoGC,
    PointerFreeGC,
    PointerFreeNoGC
};

extern "C" {
typedef void (*GCCleanUpFunc)(void *block, void *data);
}

inline void *gc_allocate(size_t size, GCPlacement placement)
{
    void *block = placement == UseGC           ? GC_MALLOC(size)
                  : placement == PointerFreeGC ? GC_MALLOC_ATOMIC(size)
                  : placement == NoGC          ? GC_MALLOC_UNCOLLECTABLE(size)
                                               : GC_MALLOC_ATOMIC_UNCOLLECTABLE(size);
    if (block == nullptr)
        throw std::bad_alloc();
    return block;
}

class gc {
public:
    void *operator new(size_t size) { return gc_allocate(size, UseGC); }
    void *operator new(size_t size, GCPlacement placement)
    {
        return gc_allocate(size, placement);
    }
    void *operator new(size_t, void *place) noexcept { return place; }
    void operator delete(void *block) noexcept { GC_FREE(block); }
    void operator delete(void *block, GCPlacement) noexcept { GC_FREE(block); }
    void operator delete(void *, void *) noexcept {}
    void *operator new[](size_t size) { return gc_allocate(size, UseGC); }
    void *operator new[](size_t size, GCPlacement placement)
    {
        return gc_allocate(size, placement);
    }
    void *operator new[](size_t, void *place) noexcept { return place; }
    void operator delete[](void *block) noexcept { GC_FREE(block); }
    void operator delete[](void *block, GCPlacement) noexcept { GC_FREE(block); }
    void operator delete[](void *, void *) noexcept {}
};

/* Of an array, the first one's destructor is called. A finalizer that was there before stays. */
class gc_cleanup : virtual public gc {
public:
    gc_cleanup()
    {
        GC_finalization_proc old = nullptr;
        void *old_data = nullptr;
        void *block = GC_base(static_cast<void *>(this));
        if (block == nullptr)
            return;
        char *offset = reinterpret_cast<char *>(reinterpret_cast<char *>(this) -
                                                static_cast<char *>(block));
        GC_REGISTER_FINALIZER_IGNORE_SELF(block, cleanup, offset, &old, &old_data);
        if (old != nullptr)
            GC_REGISTER_FINALIZER_IGNORE_SELF(block, old, old_data, nullptr, nullptr);
    }
    virtual ~gc_cleanup()
    {
        void *block = GC_base(static_cast<void *>(this));
        if (block != nullptr)
            GC_REGISTER_FINALIZER_IGNORE_SELF(block, nullptr, nullptr, nullptr, nullptr);
    }

private:
    static void cleanup(void *block, void *offset)
    {
        char *self = static_cast<char *>(block) + reinterpret_cast<ptrdiff_t>(offset);
        reinterpret_cast<gc_cleanup *>(self)->~gc_cleanup();
    }
};

#ifdef GC_NAMESPACE
}
#endif

inline void *operator new(size_t size, GC_NS_QUALIFY(GCPlacement) placement,
                          GC_NS_QUALIFY(GCCleanUpFunc) cleanup = nullptr, void *data = nullptr)
{
    void *block = GC_NS_QUALIFY(gc_allocate)(size, placement);
    if (cleanup != nullptr)
        GC_REGISTER_FINALIZER_IGNORE_SELF(block, cleanup, data, nullptr, nullptr);
    return block;
}
inline void operator delete(void *block, GC_NS_QUALIFY(GCPlacement), GC_NS_QUALIFY(GCCleanUpFunc),
                            void *) noexcept
{
    GC_FREE(block);
}
inline void *operator new[](size_t size, GC_NS_QUALIFY(GCPlacement) placement,
                            GC_NS_QUALIFY(GCCleanUpFunc) cleanup = nullptr, void *data = nullptr)
{
    return operator new(size, placement, cleanup, data);
}
inline void operator delete[](void *block, GC_NS_QUALIFY(GCPlacement),
                              GC_NS_QUALIFY(GCCleanUpFunc), void *) noexcept
{
    GC_FREE(block);
}

#endif
