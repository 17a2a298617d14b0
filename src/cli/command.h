/* command.h -- the commands of `gcmalloc`, and how they end. */
#ifndef GC_CLI_COMMAND_H
#define GC_CLI_COMMAND_H

/* Exit statuses, the same for all commands. */
enum status {
    STATUS_OK = 0,          /* it is done */
    STATUS_DIFFERENT = 1,   /* diff: something grew */
    STATUS_USAGE = 2,       /* the command line is wrong */
    STATUS_NO_FILE = 3,     /* a file cannot be opened or read */
    STATUS_FOREIGN = 4,     /* it is no profile, or of a version that is not known */
    STATUS_TRUNCATED = 5,   /* it is a profile, but not whole */
    STATUS_NO_PROCESS = 6,  /* there is no such process, or it has ended meanwhile */
    STATUS_DENIED = 7,      /* it is another user's, or not dumpable */
    STATUS_NO_LIBRARY = 8,  /* it runs without the library */
    STATUS_UNFIT = 9,       /* the program cannot be run with it: static, set-user-id, 32 bits */
    STATUS_OUTPUT = 10,     /* the result cannot be written */
    STATUS_TIMEOUT = 11,    /* the process does not answer */
};

#define COMMAND(name, arguments, help) int name##_main(int argc, char **argv);
#include "cli/commands.inc"
#undef COMMAND

#endif
