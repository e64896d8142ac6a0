/* SPDX-License-Identifier: ISC */
/*
 * Runs a fuzz target over every file of the folders and files named: the corpus as a normal test. `--random COUNT [SEED]`: over so
 * many inputs made of random numbers instead, and if one fails its seed is printed; with a COUNT of 1 that seed is run again.
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RANDOM_BYTES 1024

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static unsigned ran;
static unsigned long long seed;

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    long size;
    uint8_t *data;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) {
        perror(path);
        exit(1);
    }
    rewind(file);
    data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    ran++;
}

static void run(const char *path)
{
    struct stat st;
    struct dirent **names;
    int count;

    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        perror(path);
        exit(1);
    }
    for (int i = 0; i < count; i++) {
        char file[4096];

        snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            run_file(file);
        free(names[i]);
    }
    free(names);
}

static void say_seed(void)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "failed: --random 1 %llu\n", seed);

    if (write(STDERR_FILENO, text, (size_t)len) != len)
        _exit(1);
}

static void on_abort(int number)
{
    signal(number, SIG_DFL);
    say_seed();
    raise(number);
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t v = *state += 0x9e3779b97f4a7c15u;

    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

static void run_random(unsigned long count)
{
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(say_seed);
    for (; count > 0; count--, seed++, ran++) {
        uint64_t state = seed, bytes[RANDOM_BYTES / 8];
        size_t len = next_random(&state) % RANDOM_BYTES;

        for (size_t i = 0; i < RANDOM_BYTES / 8; i++)
            bytes[i] = next_random(&state);
        LLVMFuzzerTestOneInput((const uint8_t *)bytes, len);
    }
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "--random") == 0) {
        seed = argc > 3 ? strtoull(argv[3], NULL, 10) : (unsigned long long)time(NULL) << 20;
        run_random(strtoul(argv[2], NULL, 10));
        argc = 0;
    }
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    printf("%u inputs run\n", ran);
    return ran > 0 ? 0 : 1;
}
