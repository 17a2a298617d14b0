/* gcmalloc.hpp -- gcmalloc.h for C++: what is taken is given back at the end of a scope. C++11.
 *
 * Needs the library's roots and weak references (gcmalloc.h, sections 3 and 4); without the library
 * all of it does what stands there. Nothing here throws. */
#ifndef GCMALLOC_HPP
#define GCMALLOC_HPP

#include "gcmalloc.h"

#include <utility>

namespace gcmalloc {

/* No cycle begins while one of these lives. */
class disabled {
public:
    disabled() { gcmalloc_disable(); }
    ~disabled() { gcmalloc_enable(); }
    disabled(const disabled &) = delete;
    disabled &operator=(const disabled &) = delete;
};

/* A block is reachable while one of these holds it. Empty if it could not be pinned: errno. */
class pin {
public:
    explicit pin(void *block = nullptr) : held(nullptr)
    {
        if (block != nullptr && gcmalloc_pin(block) == 0)
            held = block;
    }
    pin(pin &&from) noexcept : held(from.held) { from.held = nullptr; }
    pin &operator=(pin &&from) noexcept
    {
        std::swap(held, from.held);
        return *this;
    }
    ~pin()
    {
        if (held != nullptr)
            gcmalloc_unpin(held);
    }
    explicit operator bool() const { return held != nullptr; }
    void *get() const { return held; }

private:
    void *held;
};

/* A reference that does not keep its block. T: what lies at its beginning. */
template <typename T> class weak {
public:
    explicit weak(T *block = nullptr)
        : reference(block == nullptr ? nullptr : gcmalloc_weak_new(block))
    {
    }
    weak(weak &&from) noexcept : reference(from.reference) { from.reference = nullptr; }
    weak &operator=(weak &&from) noexcept
    {
        std::swap(reference, from.reference);
        return *this;
    }
    ~weak()
    {
        if (reference != nullptr)
            gcmalloc_weak_drop(reference);
    }
    /* The block, or nullptr: it is gone, or there never was one. */
    T *get() const
    {
        return reference == nullptr ? nullptr : static_cast<T *>(gcmalloc_weak_get(reference));
    }

private:
    gcmalloc_weak *reference;
};

}

#endif
