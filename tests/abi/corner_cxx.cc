// corner_cxx.cc -- the operators new and delete in all their forms, and what they do when memory ends.
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "abi.h"

namespace {

constexpr std::size_t impossible = std::size_t(PTRDIFF_MAX) - 100;

struct alignas(256) Wide {
    char bytes[512];
};

int handler_calls;

bool aligned_to(const void *block, std::size_t align)
{
    return reinterpret_cast<std::uintptr_t>(block) % align == 0;
}

void give_up()
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void *use(void *block, std::size_t size, std::size_t align)
{
    CHECK(block != nullptr && aligned_to(block, align));
    pattern_fill(block, size, 1);
    CHECK(pattern_holds(block, size, 1));
    return OPAQUE(block);
}

void plain_forms()
{
    for (std::size_t size = 0; size < 5000000; size = size * 3 + 1) {
        ::operator delete(use(::operator new(size), size, 16));
        ::operator delete(use(::operator new(size), size, 16), size);
        ::operator delete[](use(::operator new[](size), size, 16));
        ::operator delete[](use(::operator new[](size), size, 16), size);
        ::operator delete(use(::operator new(size, std::nothrow), size, 16), std::nothrow);
        ::operator delete[](use(::operator new[](size, std::nothrow), size, 16), std::nothrow);
    }
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
}

void aligned_forms()
{
    for (std::size_t a = 1; a <= 65536; a *= 2) {
        std::align_val_t align{a};
        ::operator delete(use(::operator new(1000, align), 1000, a), align);
        ::operator delete(use(::operator new(1000, align), 1000, a), 1000, align);
        ::operator delete[](use(::operator new[](1000, align), 1000, a), align);
        ::operator delete[](use(::operator new[](1000, align), 1000, a), 1000, align);
        ::operator delete(use(::operator new(1000, align, std::nothrow), 1000, a), align,
                          std::nothrow);
        ::operator delete[](use(::operator new[](1000, align, std::nothrow), 1000, a), align,
                            std::nothrow);
    }
    auto wide = std::make_unique<Wide[]>(7);
    CHECK(aligned_to(wide.get(), 256));
}

template <typename Allocate> bool throws_bad_alloc(Allocate allocate)
{
    try {
        return OPAQUE(allocate()) == nullptr;
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void when_memory_ends()
{
    const std::size_t size = OPAQUE(impossible);
    const std::align_val_t align{64};
    CHECK(throws_bad_alloc([&] { return ::operator new(size); }));
    CHECK(throws_bad_alloc([&] { return ::operator new[](size); }));
    CHECK(throws_bad_alloc([&] { return ::operator new(size, align); }));
    CHECK(throws_bad_alloc([&] { return ::operator new[](size, align); }));
    CHECK(::operator new(size, std::nothrow) == nullptr);
    CHECK(::operator new[](size, std::nothrow) == nullptr);
    CHECK(::operator new(size, align, std::nothrow) == nullptr);
    CHECK(::operator new[](size, align, std::nothrow) == nullptr);
    std::set_new_handler(give_up);
    CHECK(throws_bad_alloc([&] { return ::operator new(size); }));
    CHECK(handler_calls == 3);
    handler_calls = 0;
    std::set_new_handler(give_up);
    CHECK(::operator new(size, std::nothrow) == nullptr);
    CHECK(handler_calls == 3);
}

struct Handled : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* A handler may throw: through the library's frames. */
void handler_throws()
{
    std::set_new_handler([] { throw std::bad_alloc(); });
    CHECK(throws_bad_alloc([] { return ::operator new(OPAQUE(impossible)); }));
    CHECK(::operator new(OPAQUE(impossible), std::nothrow) == nullptr);
    std::set_new_handler(nullptr);
}

void containers()
{
    std::map<std::string, std::vector<int>> map;
    for (int i = 0; i < 20000; i++)
        map["key number " + std::to_string(i % 3000)].push_back(i);
    long sum = 0;
    for (const auto &[key, values] : map)
        for (int value : values)
            sum += value;
    CHECK(sum == 20000L * 19999 / 2);
    for (int i = 0; i < 1000; i++) {
        try {
            throw Handled(std::string(200, 'x'));
        } catch (const Handled &error) {
            CHECK(std::string(error.what()).size() == 200);
        }
    }
}

} // namespace

int main()
{
    plain_forms();
    aligned_forms();
    when_memory_ends();
    handler_throws();
    containers();
    std::puts("all operators hold");
    return 0;
}
