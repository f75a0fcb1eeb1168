/** `slotcast`: the registry, for embedding in a process of one's own. */
export { ConfigError } from '../config/config-checking.ts';
export { DataFolderError } from '../durable/data-folder-error.ts';
export type { ServerConfig } from '../config/config.ts';
export { startServer } from './server.ts';
export type { Server, ServerAddress, ServerOptions } from './server.ts';
