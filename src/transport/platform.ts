/** Where a process runs, as far as binaries depend on it. */
export interface Platform {
  /** Such as `24.1.0`. */
  readonly node: string;
  readonly os: string;
  readonly arch: string;
  /** Of Linux alone; `undefined` elsewhere. */
  readonly libc: 'glibc' | 'musl' | undefined;
}

export function describePlatform({ node, os, arch, libc }: Platform): string {
  return `Node ${node} on ${os} ${arch}${libc === undefined ? '' : ` with ${libc}`}`;
}

export function readPlatform(): Platform {
  return {
    node: process.versions.node,
    os: process.platform,
    arch: process.arch,
    libc: process.platform === 'linux' ? readLibc() : undefined,
  };
}

/** Node reports a version of glibc where it was linked to it. */
function readLibc(): 'glibc' | 'musl' {
  const { header } = process.report.getReport() as { readonly header: { readonly glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}
