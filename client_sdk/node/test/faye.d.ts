// Faye 1.4 has no types; these are the parts that the tests use.
declare module 'faye/src/engines/proxy' {
  class Proxy {
    constructor(options: object);
    readonly _engine: { emptyQueue(clientId: string): void };
    bind(event: string, listener: (...values: never[]) => void): void;
    createClient(callback: (clientId: string) => void): void;
    clientExists(clientId: unknown, callback: (exists: boolean) => void): void;
    destroyClient(clientId: string, callback?: () => void): void;
    ping(clientId: string): void;
    subscribe(clientId: string, channel: string, callback?: (done: boolean) => void): void;
    unsubscribe(clientId: string, channel: string, callback?: (done: boolean) => void): void;
    publish(message: object): void;
    connect(
      clientId: string,
      options: object,
      callback: (messages: { channel: string; data?: unknown }[]) => void,
    ): void;
    hasConnection(clientId: string): boolean;
    flushConnection(clientId: string): void;
    disconnect(): unknown;
  }
  export default Proxy;
}

declare module 'faye' {
  import type { Server } from 'node:http';

  class Client {
    constructor(endpoint: string, options?: object);
    disable(feature: string): void;
    subscribe(channel: string, callback: (data: never) => void): PromiseLike<void>;
    publish(channel: string, data: unknown, options?: object): PromiseLike<void>;
    disconnect(): PromiseLike<void> | undefined;
  }

  class NodeAdapter {
    constructor(options: object);
    attach(server: Server): void;
    getClient(): Client;
    on(event: string, listener: (...values: string[]) => void): void;
    addExtension(extension: object): void;
    close(): void;
  }

  interface Faye {
    Client: typeof Client;
    NodeAdapter: typeof NodeAdapter;
    logger: object | undefined;
  }

  const faye: Faye;
  export default faye;
  export type { Client, NodeAdapter };
}
