// shapes.cc -- names worth demangling, and an inlined method.
#include <cstdlib>
#include <string>
#include <vector>

namespace shape {

struct circle {
    __attribute__((always_inline)) void grow(int by)
    {
        volatile char *block = static_cast<volatile char *>(std::malloc(1000));
        block[0] = static_cast<char>(by);
    }
};

template <typename T> __attribute__((noinline)) void each(const std::vector<T> &list, circle &c)
{
    for (const T &one : list)
        c.grow(static_cast<int>(one.size()));
}

} // namespace shape

int main()
{
    shape::circle c;
    shape::each(std::vector<std::string>{"x", "yy"}, c);
    return 0;
}
