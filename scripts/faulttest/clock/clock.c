// Preloaded into redis-server, which has the time from gettimeofday alone, this sets its clock by as many seconds as are
// written in the file that FAULTS_CLOCK names.
#include <stdlib.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static long offset(void) {
	char text[32] = {0};
	const char *path = getenv("FAULTS_CLOCK");
	int file = path ? open(path, O_RDONLY) : -1;
	if (file < 0) return 0;
	if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
	close(file);
	return strtol(text, NULL, 10);
}

int gettimeofday(struct timeval *tv, void *zone) {
	int failed = (int)syscall(SYS_gettimeofday, tv, zone);
	if (!failed && tv) tv->tv_sec += offset();
	return failed;
}
