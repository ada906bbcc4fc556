// Who holds a collective up, judged by the answers of the other ranks, as the one message that the user reads.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

typedef struct {
  char *text;
  size_t size, used;
} Text;

static void say(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(Text *t, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const int n = vsnprintf(t->text + t->used, t->size - t->used, format, list);
  va_end(list);
  if (n > 0) t->used += (size_t)n < t->size - t->used ? (size_t)n : t->size - t->used - 1;
}

typedef int Guilty(const Doing *own, const Doing *answer);
static int silent(const Doing *own, const Doing *a) { return (void)own, a == NULL; }
static int absent(const Doing *own, const Doing *a) { return a != NULL && !a->inside && a->sequence < own->sequence; }
// Ranks run one program, so what is this rank's nth collective of a lane is every rank's nth: who takes another branch counts on by those that it leaves out.
static int elsewhere(const Doing *own, const Doing *a) {
  return a != NULL && a->inside && a->sequence == own->sequence && (a->patient != own->patient || strcmp(a->what, own->what) != 0);
}

// Names the guilty, the first few of them, and returns how many there are.
static int name_all(Text *t, const Doing *own, Lane lane, Guilty *guilty, const Doing **first) {
  enum { NAMED = 6 };
  int found = 0;
  for (int r = 0; r < mw_life.size; r++) {
    double age;
    if (r == mw_life.rank) continue;
    const Status *answer = mw_pings_answer(r, &age);
    const Doing *a = answer == NULL ? NULL : &answer->lanes[lane];
    if (!guilty(own, a) || ++found > NAMED) continue;
    if (found == 1) *first = a;
    say(t, "%srank %d (host %s)", found == 1 ? "" : ", ", r, mw_host(r));
  }
  if (found > NAMED) say(t, " and %d more", found - NAMED);
  return found;
}

static void last_of(Text *t, const Doing *a) {
  if (a->sequence == 0) say(t, "it has been in none yet");
  else say(t, "its last was %s%s%s", a->what, a->at[0] ? " at " : "", a->at);
}

static const char *judge(Text *t, const Doing *own, Lane lane) {
  const Doing *first = NULL;
  int found = name_all(t, own, lane, silent, &first);
  if (found) {
    say(t, found == 1 ? " does not answer: it is stopped, or its host is gone" : " do not answer: they are stopped, or their hosts are gone");
    return found == 1 ? "look at that host" : "look at those hosts";
  }
  if (own->patient) return NULL;
  found = name_all(t, own, lane, absent, &first);
  if (found) {
    say(t, found == 1 ? " is not in this collective; " : " are not in this collective; of the first, ");
    last_of(t, first);
    return "see what that rank does instead";
  }
  found = name_all(t, own, lane, elsewhere, &first);
  if (found) {
    say(t, found == 1 ? " is in another collective: " : " are in another collective: ");
    say(t, "%s%s%s", first->what, first->at[0] ? " at " : "", first->at);
    return "every rank must run the same program";
  }
  if (own->elapsed < 10 * mw_life.limit) return NULL;
  say(t, "every rank answers and is in a collective, but it does not end");
  return "look at the network between the hosts";
}

int mw_blame(const Status *status, Lane lane, int asked, char *text, size_t size) {
  const Doing *own = &status->lanes[lane];
  Text t = {text, size, 0};
  const char *fix = NULL;
  say(&t, "JobError[stuck-collective] ");
  if (asked) fix = judge(&t, own, lane);
  else if (!own->patient) {
    say(&t, "a rank is stopped or not in this collective; which one is not known, as this MPI lets only one thread call it at a time");
    fix = "look at the hosts, or use an MPI with MPI_THREAD_MULTIPLE";
  }
  if (fix == NULL) return 0;
  say(&t, "\n  waiting  rank %d (host %s), %.0f s, in %s\n", mw_life.rank, mw_host(mw_life.rank), own->elapsed, own->what);
  if (own->at[0]) say(&t, "  at       %s\n", own->at);
  say(&t, "  fix      %s; a longer limit: MESHWORK_MPI_TIMEOUT=SECONDS\n", fix);
  return 1;
}
