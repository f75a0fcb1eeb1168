/** What can be imported. */
export const dumpFormats = ['slotcast', 'consul', 'nacos', 'eureka', 'etcd', 'dubbo'] as const;

export type DumpFormat = (typeof dumpFormats)[number];
