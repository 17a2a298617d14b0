/* units.c -- figures for people. */
#include "cli/units.h"

#include <stdio.h>

struct units_text units_bytes(uint64_t bytes)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct units_text out;
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1023.5 && unit < 6; unit++)
        value /= 1024;
    snprintf(out.text, sizeof(out.text), "%.*f %s", unit == 0 || value >= 99.95 ? 0 : 1, value,
             names[unit]);
    return out;
}

struct units_text units_duration(uint64_t ns)
{
    struct units_text out;
    double us = (double)ns / 1e3;
    if (us < 1e6)
        snprintf(out.text, sizeof(out.text), "%.*f ms", us < 1e4 ? 2 : 0, us / 1e3);
    else
        snprintf(out.text, sizeof(out.text), "%.*f s", us < 1e8 ? 1 : 0, us / 1e6);
    return out;
}

struct units_text units_uptime(uint64_t ns)
{
    struct units_text out;
    unsigned long seconds = ns / 1000000000;
    snprintf(out.text, sizeof(out.text), "%lu:%02lu:%02lu", seconds / 3600, seconds / 60 % 60,
             seconds % 60);
    return out;
}
