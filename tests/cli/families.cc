// families.cc -- leaks of C++: objects that own others, containers, arrays, and what an exception
// left behind.   families SCALE
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#define STAY() __asm__ volatile("" ::: "memory")

namespace zoo {

struct animal {
    virtual ~animal() = default;
    std::string name = "a name that is too long for the short string";
};

struct cage {
    std::unique_ptr<animal> lives = std::make_unique<animal>();
    std::vector<int> days = std::vector<int>(100, 1);
};

template <typename T> __attribute__((noinline)) void lose()
{
    T *volatile lost = new T;
    (void)lost;
    STAY();
}

__attribute__((noinline)) void throw_away()
{
    char *volatile room = new char[700];
    room[0] = 1;
    throw std::runtime_error("gone");
}

} // namespace zoo

// Leaves nothing on the stack.
__attribute__((noinline)) static void wipe()
{
    volatile char room[32768];
    for (size_t i = 0; i < sizeof(room); i++)
        room[i] = 0;
}

std::map<int, std::string> kept;

int main(int argc, char **argv)
{
    int scale = argc > 1 ? std::atoi(argv[1]) : 1;
    for (int i = 0; i < 100; i++)
        kept[i] = std::string(100, 'x');
    for (int i = 0; i < scale; i++) {
        zoo::lose<zoo::animal>();
        zoo::lose<zoo::cage>();
        try {
            zoo::throw_away();
        } catch (const std::exception &) {
        }
    }
    wipe();
    std::cout << "done" << std::endl;
    return 0;
}
