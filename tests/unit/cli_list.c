/* cli_list.c -- items stay as they were while the list grows, and new ones are zeros. */
#include "cli/list.h"

#include "unit.h"

#include <stdlib.h>

static void test_growth(void)
{
    LIST(int) list = {0};
    for (int i = 0; i < 1000; i++) {
        int *item = LIST_ADD(&list);
        EXPECT(*item == 0);
        *item = i + 1;
    }
    EXPECT(list.count == 1000);
    for (int i = 0; i < 1000; i++)
        EXPECT(list.items[i] == i + 1);
    free(list.items);
}

UNIT_MAIN(TEST(test_growth))
