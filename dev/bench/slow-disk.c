// A disk whose every fsync takes 2.5 ms longer, for programs that are started with this as LD_PRELOAD:
//
//   cc -O2 -shared -fPIC -o slow-disk.so slow-disk.c -ldl

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <time.h>

static int slowly(const char *name, int file) {
    // as the kernel would: it is on the disk when the time is over, and not before
    struct timespec left = {.tv_sec = 0, .tv_nsec = 2500000};
    while (nanosleep(&left, &left) == -1 && errno == EINTR) {
    }
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return next(file);
}

int fsync(int file) { return slowly("fsync", file); }

int fdatasync(int file) { return slowly("fdatasync", file); }
