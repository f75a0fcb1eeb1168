declare module 'parse-prometheus-text-format' {
  /** Families with their lines; numbers come as text. */
  export default function parsePrometheusTextFormat(text: string): unknown[];
}
