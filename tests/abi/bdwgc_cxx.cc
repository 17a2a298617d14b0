/* bdwgc_cxx.cc -- gc_cpp.h and gc_allocator.h: what is collected, and whose destructor is called. */
#include <gc_allocator.h>
#include <gc_cpp.h>

#include "abi.h"

#include <cstring>
#include <vector>

namespace {

enum { MANY = 200, ROUNDS = 60 };
int destroyed, cleaned;

struct plain : public gc {
    plain *next;
    char text[100];
};

/* The part with the destructor does not lie at the beginning. */
struct base {
    virtual ~base() {}
    long number;
};
struct cleaned_up : public base, public gc_cleanup {
    explicit cleaned_up(int n) : value(n) {}
    ~cleaned_up() { destroyed += value == 7; }
    int value;
    cleaned_up *self = this; /* does not keep it */
};

void on_clean(void *block, void *data)
{
    CHECK(*static_cast<int *>(block) == 5 && data == &cleaned);
    cleaned++;
}

std::vector<plain *, gc_allocator<plain *>> *all;
std::vector<plain *, traceable_allocator<plain *>> traced;

void make()
{
    all = new (UseGC) std::vector<plain *, gc_allocator<plain *>>;
    for (int i = 0; i < MANY; i++) {
        plain *p = new plain;
        std::memset(p->text, i & 127, sizeof p->text);
        all->push_back(p);
        p = new plain[2];
        std::memset(p->text, i & 127, sizeof p->text);
        traced.push_back(p);
        new cleaned_up(7);
        *new (UseGC, on_clean, &cleaned) int = 5;
        char *bytes = new (PointerFreeGC) char[100];
        CHECK(bytes != nullptr);
        delete new plain;
        delete new cleaned_up(7);
        GC_FREE(new (NoGC) plain);
    }
    CHECK(destroyed >= MANY);
}

}

int main(int argc, char **)
{
    GC_INIT();
    bool never = argc > 1;
    run_and_forget(make);
    for (int i = 0; i < (never ? 3 : ROUNDS) && (destroyed < 2 * MANY || cleaned < MANY); i++)
        GC_gcollect();
    CHECK(destroyed == (never ? 1 : 2) * MANY && cleaned == (never ? 0 : MANY));
    for (int i = 0; i < MANY; i++)
        CHECK((*all)[i]->text[99] == (i & 127) && traced[i]->text[99] == (i & 127));
    puts("done");
    return 0;
}
