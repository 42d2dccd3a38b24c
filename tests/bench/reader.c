/*
 * How long one pass over a file takes: open, read to the end, close.
 *
 *     reader [-n PASSES] [-w WARM_UP_PASSES] [-b BUFFER_BYTES] [-c CPU] FILE
 *
 * One line on standard output: bytes of the last pass, then p50, p90, p99, least and mean in microseconds. Quantiles
 * are by nearest rank over every pass, none thrown away. The samples' memory is touched beforehand and nothing is
 * printed between passes, so the loop does three kinds of system calls and clock_gettime (vDSO), nothing else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

static long pass(const char *path, char *buffer, size_t size)
{
	long total = 0;
	ssize_t piece;
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);

	if (descriptor < 0)
		fail(path);
	while ((piece = read(descriptor, buffer, size)) > 0)
		total += piece;
	if (piece < 0)
		fail(path);
	close(descriptor);
	return total;
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

static long positive(const char *text, long least)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end != '\0' || end == text || value < least) {
		fprintf(stderr, "reader: not a number of at least %ld: %s\n", least, text);
		exit(2);
	}
	return value;
}

static void pin(int number)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(number, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		fail("sched_setaffinity");
}

int main(int count, char **arguments)
{
	long passes = 1000, warm_up = 100, size = 65536, bytes = 0, i;
	double sum = 0;
	uint64_t *samples, start;
	const char *path;
	char *buffer;
	int option;

	while ((option = getopt(count, arguments, "n:w:b:c:")) != -1) {
		switch (option) {
		case 'n': passes = positive(optarg, 1); break;
		case 'w': warm_up = positive(optarg, 0); break;
		case 'b': size = positive(optarg, 1); break;
		case 'c': pin((int)positive(optarg, 0)); break;
		default: return 2;
		}
	}
	if (optind != count - 1) {
		fprintf(stderr, "usage: reader [-n PASSES] [-w WARM_UP] [-b BUFFER] [-c CPU] FILE\n");
		return 2;
	}
	path = arguments[optind];
	samples = malloc((size_t)passes * sizeof(*samples));
	buffer = malloc((size_t)size);
	if (samples == NULL || buffer == NULL)
		fail("malloc");
	memset(samples, 1, (size_t)passes * sizeof(*samples));
	memset(buffer, 1, (size_t)size);

	for (i = 0; i < warm_up; i++)
		pass(path, buffer, (size_t)size);
	for (i = 0; i < passes; i++) {
		start = now();
		bytes = pass(path, buffer, (size_t)size);
		samples[i] = now() - start;
		sum += (double)samples[i];
	}
	qsort(samples, (size_t)passes, sizeof(*samples), ascending);
	printf("%ld %.3f %.3f %.3f %.3f %.3f\n", bytes, quantile(samples, passes, 50), quantile(samples, passes, 90),
	       quantile(samples, passes, 99), (double)samples[0] / 1000.0, sum / (double)passes / 1000.0);
	return 0;
}
