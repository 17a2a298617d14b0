/* report.c -- gcmalloc report: a profile in one of several forms.
 *
 * A form is a row of `forms`. Suppressed leaks are taken out of the profile before it is shown, so
 * no form knows of them but the text, which counts them. */
#include "cli/arguments.h"
#include "cli/fault.h"
#include "cli/folded.h"
#include "cli/html.h"
#include "cli/json.h"
#include "cli/leak_text.h"
#include "cli/output.h"
#include "cli/pprof.h"
#include "cli/profile.h"
#include "cli/suppress.h"
#include "cli/symbolize.h"
#include "cli/usage.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_MAX_LEAKS = 100 }; /* as the library's, if the profile does not say */

struct report {
    struct profile profile; /* without the leaks that are suppressed */
    struct symbolizer *symbolizer;
    struct suppressions suppressions;
    uint64_t max_leaks;     /* 0: all */
    enum usage_kind sample; /* of --folded */
};

/* ---- forms ----------------------------------------------------------------------------------- */

static enum status write_text(struct report *report, FILE *out)
{
    struct leak_text text = {&report->profile, report->symbolizer, &report->suppressions,
                             report->max_leaks};
    leak_text_write(&text, out);
    return STATUS_OK;
}

static enum status write_json(struct report *report, FILE *out)
{
    json_write(&report->profile, report->symbolizer, out);
    return STATUS_OK;
}

static enum status write_folded(struct report *report, FILE *out)
{
    folded_write(&report->profile, report->symbolizer, report->sample, out);
    return STATUS_OK;
}

static enum status write_pprof(struct report *report, FILE *out)
{
    pprof_write(&report->profile, report->symbolizer, out);
    return STATUS_OK;
}

/* The page contains the JSON. */
static enum status write_html(struct report *report, FILE *out)
{
    char *text;
    size_t size;
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        return fault(STATUS_OUTPUT, "%s", strerror(errno));
    json_write(&report->profile, report->symbolizer, memory);
    if (fclose(memory) != 0)
        return fault(STATUS_OUTPUT, "there is not enough memory for the page");
    enum status status = html_write(text, size, out);
    free(text);
    return status;
}

static const struct form {
    const char *name;
    bool binary;
    enum status (*write)(struct report *report, FILE *out);
} forms[] = {
    {"text", false, write_text},
    {"json", false, write_json},
    {"folded", false, write_folded},
    {"pprof", true, write_pprof},
    {"html", false, write_html},
};

enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

/* ---- the command line ------------------------------------------------------------------------ */

struct request {
    const struct form *form;
    const char *output, *suppressions, *max_leaks, *seconds, *exitcode, *sample;
};

/* Options with an argument go to a field each; those without choose the form. */
static const struct option options[] = {
    {"text", no_argument, NULL, 0},
    {"json", no_argument, NULL, 1},
    {"folded", no_argument, NULL, 2},
    {"pprof", no_argument, NULL, 3},
    {"html", no_argument, NULL, 4},
    {"output", required_argument, NULL, 'o'},
    {"suppressions", required_argument, NULL, 's'},
    {"max-leaks", required_argument, NULL, 'm'},
    {"symbolize-seconds", required_argument, NULL, 't'},
    {"exitcode", required_argument, NULL, 'x'},
    {"sample", required_argument, NULL, 'k'},
    {NULL, 0, NULL, 0},
};

static const char **field_of(struct request *request, int option)
{
    switch (option) {
    case 'o': return &request->output;
    case 's': return &request->suppressions;
    case 'm': return &request->max_leaks;
    case 't': return &request->seconds;
    case 'x': return &request->exitcode;
    case 'k': return &request->sample;
    default: return NULL;
    }
}

static bool parse(int argc, char **argv, struct request *request)
{
    int option;
    while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
        const char **field = field_of(request, option);
        if (field != NULL)
            *field = optarg;
        else if (option >= 0 && option < FORMS)
            request->form = &forms[option];
        else
            return false;
    }
    return arguments_left(argc, optind, 1, "gcmalloc report [OPTIONS] FILE");
}

/* ---- the report ------------------------------------------------------------------------------ */

/* The number of an option, or `otherwise` if it was not given. */
static bool number(const char *name, const char *text, uint64_t otherwise, uint64_t most,
                   uint64_t *value)
{
    *value = otherwise;
    return text == NULL || arguments_number(name, text, most, value);
}

static enum status load(struct report *report, const struct request *request, const char *path,
                        double seconds)
{
    enum status status = profile_read(path, &report->profile);
    if (status == STATUS_OK && request->suppressions != NULL)
        status = suppress_read(request->suppressions, &report->suppressions);
    if (status != STATUS_OK)
        return status;
    const char *shown = profile_option(&report->profile, "max_leaks");
    if (request->max_leaks == NULL)
        report->max_leaks = shown[0] ? strtoull(shown, NULL, 10) : DEFAULT_MAX_LEAKS;
    report->symbolizer = symbolizer_open(report->profile.modules.items,
                                         report->profile.modules.count, seconds);
    return STATUS_OK;
}

static enum status show(struct report *report, const struct request *request)
{
    struct output output;
    enum status status = output_open(&output, request->output, request->form->binary);
    if (status == STATUS_OK) {
        suppress_apply(&report->suppressions, &report->profile, report->symbolizer);
        enum status written = request->form->write(report, output.stream);
        status = output_close(&output);
        status = written != STATUS_OK ? written : status;
    }
    symbolizer_close(report->symbolizer);
    return status;
}

int report_main(int argc, char **argv)
{
    struct request request = {.form = &forms[0], .sample = "leaked"};
    struct report report = {0};
    double seconds = 0;
    uint64_t exitcode;
    if (!parse(argc, argv, &request) ||
        !number("--max-leaks", request.max_leaks, 0, INT64_MAX, &report.max_leaks) ||
        (request.seconds != NULL &&
         !arguments_seconds("--symbolize-seconds", request.seconds, &seconds)) ||
        !number("--exitcode", request.exitcode, 0, 255, &exitcode))
        return STATUS_USAGE;
    report.sample = usage_kind(request.sample);
    if (report.sample == USAGE_COUNT)
        return fault(STATUS_USAGE, "--sample: '%.40s' is none of leaked, live, allocated, "
                     "reachable", request.sample);
    enum status status = load(&report, &request, argv[optind], seconds);
    if (status == STATUS_OK)
        status = show(&report, &request);
    return status == STATUS_OK && report.profile.leaks.count != 0 ? (int)exitcode : (int)status;
}
