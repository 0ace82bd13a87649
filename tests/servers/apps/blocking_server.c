// Two servers that block in the line protocol of asyncio_server.py: four threads in accept(), or
// one loop in poll(). Both have a blocking listener. bench/setup.sh builds it.
//
//	zoo-c accept 127.0.0.1 8000
//	zoo-c poll 127.0.0.1 8000
#include <arpa/inet.h>
#include <err.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, CONNECTIONS = 64, LINES = 50, LINE_PAUSE = 100, SLOW = 2000 };

static char version[100];

struct answer {
	int line;   // the next line of a stream, from 1; 0: the short answer
	long due;   // in milliseconds
};

static long now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

// Read the command. Return whether there is one.
static int begin(int fd, struct answer *answer)
{
	char command[100];
	ssize_t length = read(fd, command, sizeof command - 1);
	if (length <= 0)
		return 0;
	command[length] = 0;
	answer->line = !strcmp(command, "stream\n");
	answer->due = now() + (strcmp(command, "slow\n") ? 0 : SLOW);
	return 1;
}

// Send the part that is due. Return whether there is another.
static int proceed(int fd, struct answer *answer)
{
	char text[200];
	int length = answer->line
		? snprintf(text, sizeof text, "%s line %d of %d\n", version, answer->line, LINES)
		: snprintf(text, sizeof text, "%s\n", version);
	if (write(fd, text, length) != length)
		return 0;
	answer->due += LINE_PAUSE;
	return answer->line && answer->line++ < LINES;
}

static int next_client(int listener)
{
	int fd = accept(listener, NULL, NULL);
	if (fd < 0)
		err(1, "accept");
	return fd;
}

static void *accept_loop(void *listener)
{
	for (;;) {
		int fd = next_client(*(int *)listener);
		struct answer answer;
		int more = begin(fd, &answer);
		while (more) {
			poll(NULL, 0, answer.due > now() ? answer.due - now() : 0);
			more = proceed(fd, &answer);
		}
		close(fd);
	}
	return NULL;
}

static void poll_loop(int listener)
{
	struct pollfd polled[CONNECTIONS] = {{listener, POLLIN, 0}};
	struct answer answers[CONNECTIONS];
	int count = 1;
	for (;;) {
		long timeout = -1;
		for (int i = 1; i < count; i++)
			if (!polled[i].events) {
				long left = answers[i].due > now() ? answers[i].due - now() : 0;
				timeout = timeout < 0 || left < timeout ? left : timeout;
			}
		poll(polled, count, timeout);
		for (int i = count - 1; i > 0; i--) {
			int more = 1;
			if (polled[i].events && polled[i].revents) {
				more = begin(polled[i].fd, &answers[i]);
				polled[i].events = 0;
			}
			while (more && !polled[i].events && answers[i].due <= now())
				more = proceed(polled[i].fd, &answers[i]);
			if (!more) {
				close(polled[i].fd);
				polled[i] = polled[--count];
				answers[i] = answers[count];
			}
		}
		if (polled[0].revents && count < CONNECTIONS)
			polled[count++] = (struct pollfd){next_client(listener), POLLIN, 0};
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	// The release in the working directory; a broken one does not have it.
	FILE *fast = fopen("public/fast", "r");
	if (argc != 4 || !fast || !fgets(version, sizeof version, fast))
		errx(1, "no release");
	fclose(fast);
	version[strcspn(version, "\n")] = 0;
	signal(SIGPIPE, SIG_IGN);
	inet_pton(AF_INET, argv[2], &address.sin_addr);
	address.sin_port = htons(atoi(argv[3]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
		err(1, "%s:%s", argv[2], argv[3]);
	if (!strcmp(argv[1], "poll"))
		poll_loop(listener);
	for (int i = 1; i < THREADS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, accept_loop, &listener))
			errx(1, "pthread_create");
	}
	accept_loop(&listener);
}
