/* Of the libraries that a server is linked with it uses little once it runs: much of what is
 * resident then are symbol tables, relocations and code that the dynamic linker and the
 * constructors of C++ went through once. Those pages are the files' own, unchanged, so they can be
 * let go; what is needed again comes back from the page cache, a few dozen kilobytes at a time.
 * Segments that can be written to are left alone: their pages are not the files' any more.
 *
 * The cost: breakpoints that a debugger has set in them by then are lost. */
#include "common/memory_trim.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static int trim_object(struct dl_phdr_info *info, size_t size, void *ctx)
{
    const uintptr_t page = *(const uintptr_t *)ctx;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W))
            continue;
        uintptr_t start = (info->dlpi_addr + segment->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_filesz) & ~(page - 1);
        /* It fails for what is not a file's, as the kernel's own object: nothing to be had
         * there. */
        if (end > start)
            (void)madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

void memory_trim(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    dl_iterate_phdr(trim_object, &page);
    malloc_trim(0);
}
