// The clients that are connected to this Faye server, attached to pixied for as long as they are.
import type { Message } from '../../generated/pixied/v1/message';
import type { Attachment, DeliveryInfo, Detached } from '../attachment';
import { ClientUnknown } from '../errors';
import type { FrontEnd } from '../front_end';
import { BriefPolls } from './brief_polls';
import { toFaye } from './message';
import { isClientId, isOpen, shortened, type FayeConnection, type FayeServer } from './server';

/** A connected client. */
interface ConnectedClient {
  readonly clientId: string;
  readonly attachment: Attachment;
  /** Faye has asked pixied whether there is such a client. */
  isProven: boolean;
  /** pixied has said that it holds the client for this server. */
  isAttached: boolean;
  /** The last delivery that was handed to Faye and is not confirmed. */
  unconfirmed: DeliveryInfo | undefined;
  /** Faye has closed the connection. */
  isClosed: boolean;
}

/** There is no connection that messages could be written to. */
class NotConnected extends Error {}

/**
 * Confirms messages as late as it can, so that a process that is killed takes none with it: a socket's once they have
 * been written, a long poll's once the response has been, together with the detach that ends the poll. A poll confirms by
 * itself (ack mode `explicit`): it must not hold the link's common confirmation back while it waits for its response.
 */
export class ConnectedClients {
  private readonly clients = new Map<string, ConnectedClient>();
  private readonly closing = new Set<string>();
  private readonly briefPolls: BriefPolls;
  private turn: Promise<void> | undefined;

  /** @param gone called for a client that turned out not to exist any more. */
  constructor(
    private readonly server: FayeServer,
    private readonly frontEnd: FrontEnd,
    private readonly gone: (clientId: string) => void,
  ) {
    this.briefPolls = new BriefPolls(server, async (clientId) => (await frontEnd.getClient(clientId)).pending);
    server.bind('connection:open', this.greet, this);
    server.bind('connection:close', this.close, this);
  }

  /** The clients that are connected here, without mere names. */
  get clientIds(): string[] {
    return [...this.clients.values()].filter(({ isProven }) => isProven).map(({ clientId }) => clientId);
  }

  /** Attaches a connected client, so that its messages come; does nothing if it is attached already. */
  open(clientId: string, isProven = true): void {
    const open = this.clients.get(clientId);
    if (open) {
      open.isProven ||= isProven;
      // It may be another poll on the same connection.
      if (open.isAttached) this.briefPolls.attached(clientId);
    }
    if (open || this.closing.has(clientId)) return;
    const ackMode = this.server.connection(clientId, false)?.socket ? 'auto' : 'explicit';
    const attachment = this.frontEnd.attach(
      clientId,
      // Faye counts a client's silence itself, by its pings.
      { ackMode, expires: true },
      {
        onAttached: () => {
          client.isAttached = true;
          this.briefPolls.attached(clientId);
        },
        onMessages: (messages, info) => this.deliver(client, messages, info),
        onGap: (gap) => this.server.warn('Client ? lost ? messages of ?', shortened(clientId), gap.lost, gap.channel),
        onDetached: (detached) => this.detached(client, detached),
      },
    );
    const client: ConnectedClient = {
      clientId,
      attachment,
      isProven,
      isAttached: false,
      unconfirmed: undefined,
      isClosed: false,
    };
    this.clients.set(clientId, client);
  }

  /** Stops listening to Faye. */
  dispose(): void {
    this.server.unbind('connection:open', this.greet, this);
    this.server.unbind('connection:close', this.close, this);
  }

  /**
   * A socket takes messages from its first one on, whatever that is, and an EventSource as soon as it is there: its
   * polls may go to another server. Faye opens it in any name that a client gives, and sets the socket just after this.
   */
  private greet(clientId: string): void {
    if (!isClientId(clientId)) return;
    this.briefPolls.opened(this.server.connection(clientId, false));
    setImmediate(() => {
      if (this.server.connection(clientId, false)?.socket) this.open(clientId, false);
    });
  }

  /** Faye calls this just before the response is complete, so what it carries counts as written one turn later. */
  private close(clientId: string): void {
    const client = this.clients.get(clientId);
    if (!client) return;
    this.clients.delete(clientId);
    this.closing.add(clientId);
    client.isClosed = true;
    setImmediate(() => {
      this.confirm(client);
      client.attachment.detach();
      this.closing.delete(clientId);
      // A client in this process polls again sooner than this; before the confirmation it would get all again.
      if (this.server.hasConnection(clientId)) this.open(clientId);
    });
  }

  private deliver(
    client: ConnectedClient,
    messages: readonly Message[],
    info: DeliveryInfo,
  ): Promise<void> | undefined {
    const { clientId, attachment } = client;
    // It is about to be detached, and gives these messages back.
    if (client.isClosed && attachment.isExplicit) return undefined;
    const connection = this.server.connection(clientId, false);
    if (client.isClosed || !isOpen(connection)) throw new NotConnected(shortened(clientId));
    this.handOver(connection, clientId, messages);
    if (!attachment.isExplicit) return this.endOfTurn();
    client.unconfirmed = info;
    // A poll that has become a socket meanwhile has no response to wait for.
    if (connection.socket) setImmediate(() => this.confirm(client));
    return undefined;
  }

  /** Faye writes each message by itself, which is a system call each; held together, a socket's messages are one. */
  private handOver(connection: FayeConnection, clientId: string, messages: readonly Message[]): void {
    const stream = messages.length > 1 ? connection.socket?._socket?._stream : undefined;
    stream?.cork?.();
    try {
      this.server.deliver(clientId, messages.map(toFaye));
    } finally {
      stream?.uncork?.();
    }
  }

  private confirm(client: ConnectedClient): void {
    if (client.unconfirmed) client.attachment.confirm(client.unconfirmed);
    client.unconfirmed = undefined;
  }

  private detached(client: ConnectedClient, { reason, detail, error }: Detached): void {
    const { clientId } = client;
    // pixied's events announce the end of a session, with more about it; then Faye closes the connection, and `close`
    // forgets the client.
    if (this.clients.get(clientId) !== client || reason === 'destroyed' || reason === 'expired') return;
    this.clients.delete(clientId);
    if (reason === 'taken_over') this.server.flushConnection(clientId);
    else if (reason === 'failed') this.failed(client, detail, error);
    else if (reason === 'refused' && !(error instanceof NotConnected)) {
      this.server.error('Messages of client ? could not be delivered: ?', shortened(clientId), String(error));
    }
  }

  /** The connection stays, for a poll that was answered at once would come again at once. Its next poll tries again. */
  private failed({ clientId, isProven }: ConnectedClient, detail: string, error: unknown): void {
    if (!(error instanceof ClientUnknown)) {
      this.server.error('Client ? could not be attached: ?', shortened(clientId), detail);
    } else if (isProven) {
      this.gone(clientId);
    }
  }

  /** Done when what was written in this turn has been handed on; one promise for all that wait for the same turn. */
  private endOfTurn(): Promise<void> {
    this.turn ??= new Promise((resolve) =>
      setImmediate(() => {
        this.turn = undefined;
        resolve();
      }),
    );
    return this.turn;
  }
}
