/* starter ROUNDS COMMAND... [; COMMAND...]...: run every command in turn, ROUNDS times, and print for each a line
 *
 *     p50 of its microseconds from fork to wait, largest resident memory of it and what it waited for in KiB
 *
 * Small itself, since the kernel counts for a process what its parent had resident when it was forked. The commands'
 * output is discarded; one that fails ends it with the command's name and status on standard error. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 16

extern char **environ;

static double microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static int ascending(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

static double run(char **command, const posix_spawn_file_actions_t *quiet, long *resident)
{
    double begun = microseconds();
    struct rusage used;
    int status;
    pid_t pid;
    if (posix_spawnp(&pid, command[0], quiet, NULL, command, environ) != 0 || wait4(pid, &status, 0, &used) != pid) {
        perror(command[0]);
        exit(1);
    }
    if (status != 0) {
        fprintf(stderr, "%s: status %d\n", command[0], status);
        exit(1);
    }
    if (used.ru_maxrss > *resident)
        *resident = used.ru_maxrss;
    return microseconds() - begun;
}

int main(int count, char **words)
{
    char **commands[MOST];
    long resident[MOST] = {0};
    int many = 0, rounds = count > 1 ? atoi(words[1]) : 0;
    if (rounds < 1 || count < 3) {
        fprintf(stderr, "usage: starter ROUNDS COMMAND... [; COMMAND...]...\n");
        return 2;
    }
    commands[many++] = words + 2;
    for (int each = 2; each < count; each++)
        if (strcmp(words[each], ";") == 0 && many < MOST) {
            words[each] = NULL;
            commands[many++] = words + each + 1;
        }
    double *taken = calloc((size_t)rounds * many, sizeof *taken);
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    for (int round = 0; round < rounds; round++)
        for (int each = 0; each < many; each++)
            taken[each * rounds + round] = run(commands[each], &quiet, &resident[each]);
    for (int each = 0; each < many; each++) {
        qsort(taken + each * rounds, rounds, sizeof *taken, ascending);
        printf("%.1f %ld\n", taken[each * rounds + rounds / 2], resident[each]);
    }
    return 0;
}
