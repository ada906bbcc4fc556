// Waiting for work of the process's other threads, which is short, unless these have no core.
#ifndef MESHWORK_AWAIT_H
#define MESHWORK_AWAIT_H

// Returns when is(of), of which mwk_ended must tell whoever makes it so. Turns for some time, and then sleeps, so that what is waited for may have this thread's core.
void mwk_await(int (*is)(const void *of), const void *of);

// Something has ended that another thread may wait for.
void mwk_ended(void);

#endif
