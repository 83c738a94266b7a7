/*
 * Loaded by /etc/ld.so.preload into each dynamically linked program of an agent's container: sets the variables that make clients
 * trust the gateway's authority where a parent did not pass them on (a tool server that is started with HOME, PATH, SHELL, TERM
 * and USER only). A variable that is there is never changed. Whatever goes wrong, the program starts as if this were not there:
 * its client then refuses the gateway's certificate, which is on record.
 *
 * The file holds NAME=VALUE lines, at most 8 KiB. Statically linked programs and musl's loader do not read ld.so.preload.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef TRUST_ENVIRONMENT
#define TRUST_ENVIRONMENT "/var/run/sidegate/trust/environment"
#endif
enum { LIMIT = 8192 };

static void set_line(char *line) {
	char *equals = strchr(line, '=');
	if (equals == NULL || equals == line)
		return;
	*equals = '\0';
	setenv(line, equals + 1, 0);
}

__attribute__((constructor)) static void trust(void) {
	char text[LIMIT];
	const int before = errno;
	size_t length = 0;
	const int file = open(TRUST_ENVIRONMENT, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (file < 0) {
		errno = before;
		return;
	}
	for (;;) {
		const ssize_t got = read(file, text + length, LIMIT - 1 - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		length += (size_t)got;
	}
	close(file);
	text[length] = '\0';
	/* A line without its end is one that was cut off. */
	for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		*end = '\0';
		set_line(line);
	}
	errno = before;
}
