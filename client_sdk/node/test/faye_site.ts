// A real HTTP server with Faye on it, and real Faye clients.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import faye, { type Client, type NodeAdapter } from 'faye';

import * as pixiedEngine from '../src/faye';
import type { FayeMessage } from '../src/faye';

/** One Faye server on its own port, with pixied behind it. */
export class FayeSite {
  private readonly clients: Client[] = [];

  private constructor(
    private readonly http: Server,
    readonly bayeux: NodeAdapter,
  ) {}

  static async open(address: string, options: object = {}): Promise<FayeSite> {
    const bayeux = new faye.NodeAdapter({
      mount: '/faye',
      timeout: 5,
      engine: { type: pixiedEngine, address, ...options },
    });
    const http = createServer();
    bayeux.attach(http);
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    return new FayeSite(http, bayeux);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.http.address() as AddressInfo).port}/faye`;
  }

  /** A client that uses this transport alone after the handshake. */
  client(transport: 'websocket' | 'long-polling'): Client {
    const client = new faye.Client(this.url, { retry: 0.2 });
    if (transport === 'long-polling') client.disable('websocket');
    this.clients.push(client);
    return client;
  }

  /** Sends Bayeux messages by hand. */
  async send(...messages: object[]): Promise<FayeMessage[]> {
    const body = JSON.stringify(messages);
    const response = await fetch(this.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    return (await response.json()) as FayeMessage[];
  }

  /** Opens an EventSource by hand; what it brings is added to `inbox`. Resolves when the server has accepted it. */
  async listen(clientId: string, inbox: FayeMessage[], signal: AbortSignal): Promise<void> {
    const response = await fetch(`${this.url}/${clientId}`, { headers: { Accept: 'text/event-stream' }, signal });
    void readEvents(response.body!, inbox).catch(() => undefined);
  }

  async handshake(): Promise<string> {
    const [reply] = await this.send({
      channel: '/meta/handshake',
      version: '1.0',
      supportedConnectionTypes: ['long-polling'],
    });
    return reply!.clientId!;
  }

  async close(): Promise<void> {
    // A client whose server is gone would ask for it for ever.
    await Promise.all(this.clients.map((client) => client.disconnect()));
    this.bayeux.close();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }
}

async function readEvents(body: ReadableStream<Uint8Array>, inbox: FayeMessage[]): Promise<void> {
  let text = '';
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    const events = text.split('\r\n\r\n');
    text = events.pop()!;
    for (const event of events) {
      if (event.startsWith('data: ')) inbox.push(...(JSON.parse(event.slice('data: '.length)) as FayeMessage[]));
    }
  }
}
