/* plugin_places.c -- a library that is loaded late and has room for pointers in each kind of data.
 * */
#include "abi.h"

enum { KEPT = 7 };

EXPORT void **plugin_data_place(void);
EXPORT void **plugin_bss_place(void);
EXPORT void **plugin_tls_place(void);

static void *data_place[KEPT] = { data_place };
static void *bss_place[KEPT];
/* Large, so that the loader cannot fit it into the static block's reserve: dynamic for certain. */
static __thread char tls_padding[100000];
static __thread void *tls_place[KEPT];

void **plugin_data_place(void)
{
    return data_place;
}

void **plugin_bss_place(void)
{
    return bss_place;
}

void **plugin_tls_place(void)
{
    tls_padding[0] = 1;
    return tls_place;
}
