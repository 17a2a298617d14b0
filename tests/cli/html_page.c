/* html_page.c -- JSON from standard input as a page on standard output, for run_html.py. */
#include "cli/html.h"

#include <stdlib.h>

int main(void)
{
    char *json = NULL, piece[65536];
    size_t length = 0, got;
    FILE *text = open_memstream(&json, &length);
    while (text != NULL && (got = fread(piece, 1, sizeof(piece), stdin)) > 0)
        fwrite(piece, 1, got, text);
    if (text == NULL || fclose(text) != 0)
        return 1;
    enum status status = html_write(json, length, stdout);
    free(json);
    return status != STATUS_OK ? (int) status : fclose(stdout) == 0 ? 0 : 1;
}
