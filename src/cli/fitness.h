/* fitness.h -- whether a program could run with the library at all. */
#ifndef GC_CLI_FITNESS_H
#define GC_CLI_FITNESS_H

/* What stands against it, in words that go behind "it is"; NULL: nothing that the file shows. */
const char *fitness_of_file(const char *path);

#endif
