/*
 * How long one pass over a file takes: open, read to the end, close.
 *
 *     reader [-n PASSES] [-t SECONDS] [-w WARM_UP_PASSES] [-b BUFFER_BYTES] [-c CPU] [-e] [-g] FILE...
 *     reader -l PROCESSES [-b BUFFER_BYTES] FILE...
 *
 * Several files are read in turn, one a pass. -t ends the passes after a time; -n then says how many there are at most.
 * -e counts errors, which else end the program, and texts that are empty where one before was not. -g says "ready"
 * after the warm-up and waits for a line on standard input, so that several programs begin together. -l reads with that
 * many processes and without a pause until standard input ends.
 *
 * Standard output has one figure a line, name and value: bytes of the last pass, passes, errors, seconds that all of
 * it took, then p50, p90, p99, least, most and mean of a pass in microseconds. Quantiles are by nearest rank over
 * every pass, none thrown away. The samples' memory is touched beforehand and nothing is printed between passes, so
 * the loop does three kinds of system calls and clock_gettime (vDSO), nothing else. With -l: passes and seconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_PROCESSES 64

static void fail(const char *what)
{
	fprintf(stderr, "reader: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* Bytes of the file, -1 where something failed. */
static long pass(const char *path, char *buffer, size_t size)
{
	long total = 0;
	ssize_t piece;
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);

	if (descriptor < 0)
		return -1;
	while ((piece = read(descriptor, buffer, size)) > 0)
		total += piece;
	close(descriptor);
	return piece < 0 ? -1 : total;
}

static int ascending(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static double quantile(const uint64_t *sorted, long count, int percent)
{
	long rank = (count * percent + 99) / 100;

	return (double)sorted[rank > 0 ? rank - 1 : 0] / 1000.0;
}

static long number(const char *text, long least, long most)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end != '\0' || end == text || value < least || value > most) {
		fprintf(stderr, "reader: not a number from %ld to %ld: %s\n", least, most, text);
		exit(2);
	}
	return value;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		fail("sched_setaffinity");
}

static void await_line(void)
{
	char piece;

	puts("ready");
	fflush(stdout);
	while (read(0, &piece, 1) == 1 && piece != '\n')
		;
}

/* One word a process in shared memory counts its passes. */
static int loop(long processes, char **files, long count, char *buffer, size_t size)
{
	volatile uint64_t *passes = mmap(NULL, MOST_PROCESSES * sizeof(*passes), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[MOST_PROCESSES];
	uint64_t start = now(), sum = 0;
	char piece;
	long i;

	if (passes == MAP_FAILED)
		fail("mmap");
	for (i = 0; i < processes; i++) {
		children[i] = fork();
		if (children[i] < 0)
			fail("fork");
		if (children[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				if (pass(files[passes[i]++ % (uint64_t)count], buffer, size) < 0)
					fail("a pass");
		}
	}
	while (read(0, &piece, 1) == 1)
		;
	for (i = 0; i < processes; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
		sum += passes[i];
	}
	printf("passes %lu\nseconds %.6f\n", sum, (double)(now() - start) / 1e9);
	return 0;
}

int main(int count, char **arguments)
{
	long passes = 1000, warm_up = 100, size = 65536, seconds = 0, processes = 0, errors = 0, bytes = 0, files, i, got;
	int tolerant = 0, gated = 0, option;
	uint64_t *samples, start, begun, until;
	double sum = 0;
	char *buffer, *filled;

	while ((option = getopt(count, arguments, "n:t:w:b:c:l:eg")) != -1) {
		switch (option) {
		case 'n': passes = number(optarg, 1, 100000000); break;
		case 't': seconds = number(optarg, 1, 86400); break;
		case 'w': warm_up = number(optarg, 0, 100000000); break;
		case 'b': size = number(optarg, 1, 1 << 30); break;
		case 'c': pin((int)number(optarg, 0, CPU_SETSIZE - 1)); break;
		case 'l': processes = number(optarg, 1, MOST_PROCESSES); break;
		case 'e': tolerant = 1; break;
		case 'g': gated = 1; break;
		default: return 2;
		}
	}
	files = count - optind;
	arguments += optind;
	if (files < 1) {
		fprintf(stderr, "usage: reader [-n PASSES] [-t SECONDS] [-w WARM_UP] [-b BUFFER] [-c CPU] [-l PROCESSES] "
				"[-eg] FILE...\n");
		return 2;
	}
	samples = malloc((size_t)passes * sizeof(*samples));
	buffer = malloc((size_t)size);
	filled = calloc((size_t)files, 1);
	if (samples == NULL || buffer == NULL || filled == NULL)
		fail("malloc");
	memset(samples, 1, (size_t)passes * sizeof(*samples));
	memset(buffer, 1, (size_t)size);
	if (processes)
		return loop(processes, arguments, files, buffer, (size_t)size);

	for (i = 0; i < warm_up; i++)
		if (pass(arguments[i % files], buffer, (size_t)size) < 0 && !tolerant)
			fail(arguments[i % files]);
	if (gated)
		await_line();
	begun = now();
	until = seconds ? begun + (uint64_t)seconds * 1000000000u : UINT64_MAX;
	for (i = 0; i < passes && now() < until; i++) {
		start = now();
		got = pass(arguments[i % files], buffer, (size_t)size);
		samples[i] = now() - start;
		sum += (double)samples[i];
		if (got < 0 && !tolerant)
			fail(arguments[i % files]);
		errors += got < 0 || (got == 0 && filled[i % files]);
		filled[i % files] |= got > 0;
		bytes = got;
	}
	passes = i;
	printf("bytes %ld\npasses %ld\nerrors %ld\nseconds %.6f\n", bytes, passes, errors, (double)(now() - begun) / 1e9);
	qsort(samples, (size_t)passes, sizeof(*samples), ascending);
	printf("p50 %.3f\np90 %.3f\np99 %.3f\nleast %.3f\nmost %.3f\nmean %.3f\n", quantile(samples, passes, 50),
	       quantile(samples, passes, 90), quantile(samples, passes, 99), (double)samples[0] / 1000.0,
	       (double)samples[passes - 1] / 1000.0, sum / (double)passes / 1000.0);
	return 0;
}
