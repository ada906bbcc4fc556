// A library's own ways to take and free memory, changed for that library alone: large blocks are ours (blocks.c), all others the C library's as before. PJRT takes no allocator, and glibc's has no setting that keeps
// large blocks of every thread.
#define _GNU_SOURCE
#include "blocks.h"
#include "call.h"

#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// This library's own calls are not changed: they are the C library's, as the other's were.
static int memalign_or_block(void **at, size_t align, size_t size) {
  if (size >= LEAST_BLOCK && align <= 64) {
    void *block = block_take(size);
    if (block != NULL) {
      *at = block;
      return 0;
    }
  }
  return posix_memalign(at, align, size);
}
static void *aligned_or_block(size_t align, size_t size) {
  void *block = size >= LEAST_BLOCK && align <= 64 ? block_take(size) : NULL;
  return block == NULL ? aligned_alloc(align, size) : block;
}
static void free_or_keep(void *at) {
  if (is_block(at)) block_free(at); else free(at);
}
static void *realloc_or_move(void *at, size_t size) {
  if (!is_block(at)) return realloc(at, size);
  void *moved = size == 0 ? NULL : malloc(size);
  if (size != 0 && moved == NULL) return NULL;
  const size_t had = block_size(at);
  if (moved != NULL) memcpy(moved, at, had < size ? had : size);
  block_free(at);
  return moved;
}

typedef struct { const ElfW(Rela) *entries; size_t count; } Relocations;
typedef struct {
  // Where it lies, from its first page to its last.
  ElfW(Addr) base, from, to;
  const ElfW(Dyn) *dynamic;
  const ElfW(Sym) *symbols;
  const char *names;
  Relocations tables[2];
} Library;

static bool is_in(const Library *l, const void *at) { return (ElfW(Addr))at >= l->from && (ElfW(Addr))at < l->to; }

typedef struct { const void *inside; Library found; } Search;
static int see_library(struct dl_phdr_info *info, size_t size, void *context) {
  (void)size;
  Search *search = context;
  Library l = {.base = info->dlpi_addr, .from = UINTPTR_MAX};
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    const ElfW(Addr) at = l.base + part->p_vaddr;
    if (part->p_type == PT_DYNAMIC) l.dynamic = (const void *)at;
    if (part->p_type != PT_LOAD) continue;
    if (at < l.from) l.from = at;
    if (at + part->p_memsz > l.to) l.to = at + part->p_memsz;
  }
  if (!is_in(&l, search->inside)) return 0;
  search->found = l;
  return 1;
}

// The library that has this address; false where its tables are not as glibc keeps them.
static bool library_with(const void *inside, Library *l) {
#if defined(__GLIBC__)
  Search search = {.inside = inside};
  if (dl_iterate_phdr(see_library, &search) != 1 || search.found.dynamic == NULL) return false;
  *l = search.found;
  for (const ElfW(Dyn) *d = l->dynamic; d->d_tag != DT_NULL; d++) switch (d->d_tag) {
    case DT_SYMTAB: l->symbols = (const void *)d->d_un.d_ptr; break;
    case DT_STRTAB: l->names = (const void *)d->d_un.d_ptr; break;
    case DT_JMPREL: l->tables[0].entries = (const void *)d->d_un.d_ptr; break;
    case DT_PLTRELSZ: l->tables[0].count = d->d_un.d_val / sizeof(ElfW(Rela)); break;
    case DT_RELA: l->tables[1].entries = (const void *)d->d_un.d_ptr; break;
    case DT_RELASZ: l->tables[1].count = d->d_un.d_val / sizeof(ElfW(Rela)); break;
    default: break;
  }
  return is_in(l, l->symbols) && is_in(l, l->names);
#else
  (void)see_library;
  (void)inside;
  (void)l;
  return false;
#endif
}

#if defined(__x86_64__)
static bool is_slot(unsigned long type) { return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT; }
#elif defined(__aarch64__)
static bool is_slot(unsigned long type) { return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT; }
#else
static bool is_slot(unsigned long type) { (void)type; return false; }
#endif

// Calls `see` with each of the places where the library keeps the address of a function.
static void slots_of(const Library *l, const char *name, void (*see)(void **slot, void *context), void *context) {
  for (int t = 0; t < 2; t++) for (size_t i = 0; i < l->tables[t].count; i++) {
    const ElfW(Rela) *r = &l->tables[t].entries[i];
    if (is_slot(ELF64_R_TYPE(r->r_info)) && strcmp(l->names + l->symbols[ELF64_R_SYM(r->r_info)].st_name, name) == 0) see((void **)(l->base + r->r_offset), context);
  }
}

typedef struct { const Library *own; int seen, open; } Look;
static void look(void **slot, void *context) {
  Look *at = context;
  at->seen++;
  // What nobody has used yet leads to the linker, by way of the library itself.
  if (is_in(at->own, *slot)) at->open++;
}
// Whether every place of it is filled in: the linker fills in some when they are first used, and would write over ours.
static bool resolved(const Library *l, const char *name) {
  Look at = {.own = l};
  slots_of(l, name, look, &at);
  return at.seen > 0 && at.open == 0;
}
static void find(void **slot, void *context) {
  if (*slot == (void *)memalign_or_block) *(bool *)context = true;
}

typedef struct { void *to; bool done; } Change;
static void change(void **slot, void *context) {
  Change *c = context;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)slot / page * page;
  // The linker may have made these pages read-only, and leaving them writable does no more than where it has not.
  if (mprotect((void *)at, page, PROT_READ | PROT_WRITE) != 0) c->done = false;
  else __atomic_store_n(slot, c->to, __ATOMIC_RELEASE);
}
static bool changed(const Library *l, const char *name, void *to) {
  Change c = {.to = to, .done = true};
  slots_of(l, name, change, &c);
  return c.done;
}

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;

// The library that `inside` is a part of keeps its large blocks from here on; false where it cannot.
MWK_EXPORT bool mwk_keep_blocks(void *inside) {
  Library l;
  if (!library_with(inside, &l)) return false;
  pthread_mutex_lock(&once);
  bool done = false;
  slots_of(&l, "posix_memalign", find, &done);
  if (!done) {
    // Blocks must not come before they can be freed.
    done = resolved(&l, "free") && blocks_begin();
    done = done && changed(&l, "free", (void *)free_or_keep) && changed(&l, "realloc", (void *)realloc_or_move);
    done = done && changed(&l, "aligned_alloc", (void *)aligned_or_block) && changed(&l, "posix_memalign", (void *)memalign_or_block);
  }
  pthread_mutex_unlock(&once);
  return done;
}
