// `pixied.v1.AdminService`: what an operator asks.
import type { Channel, Counters, Holdings } from '../generated/pixied/v1/admin_service';
import { AdminServiceService as Methods } from '../generated/pixied/v1/admin_service';
import { callOnce, callRepeatedly } from './calls';
import { connectTo, DEFAULT_ADDRESS, type Connection, type ConnectionOptions } from './connection';
import { clientInfo, DEFAULT_TIMEOUT_MS, type CallOptions, type ClientInfo, type PageOptions } from './operations';
import { itemsOf, type Page } from './pages';
import { dateOf, durationOf } from './time';

/** What a server is and holds. */
export interface ServerInfo {
  readonly version: string;
  /** Where the state is: `memory` or `redis`. */
  readonly engine: string;
  readonly startedAt: Date | undefined;
  /** True once a planned stop has begun. */
  readonly draining: boolean;
  readonly holdings: Holdings | undefined;
  readonly counters: Counters | undefined;
}

/** Which clients are wanted. Filters are combined. */
export interface ClientFilter extends PageOptions, CallOptions {
  /** Only clients with a subscription that meets this channel or pattern. */
  readonly channelPattern?: string | undefined;
  /** Only clients that the front-end of this name holds. */
  readonly frontEnd?: string | undefined;
}

/** Which channels are wanted. */
export interface ChannelFilter extends PageOptions, CallOptions {
  /** Only those that meet this channel or pattern. */
  readonly channelPattern?: string | undefined;
}

/** An operator's view of one server. */
export class Admin {
  private readonly connection: Connection;

  /** @param address as for `Backend`. */
  constructor(address: string = DEFAULT_ADDRESS, options: ConnectionOptions = {}) {
    this.connection = connectTo(address, options);
  }

  /** Returns what the server is, what it holds and what it has done. */
  async getInfo(options?: CallOptions): Promise<ServerInfo> {
    const info = await callRepeatedly(this.connection, Methods.getInfo, {}, options);
    return { ...info, startedAt: info.startedAt && dateOf(info.startedAt) };
  }

  /** Lists clients, ascending by id. */
  async listClients(filter: ClientFilter = {}): Promise<Page<ClientInfo>> {
    const request = { ...pageRequest(filter), frontEnd: filter.frontEnd ?? '' };
    const { clients, nextPageToken } = await callRepeatedly(this.connection, Methods.listClients, request, filter);
    return { items: clients.map(clientInfo), nextPageToken };
  }

  /** Lists the channels and patterns that someone subscribes to, ascending. */
  async listChannels(filter: ChannelFilter = {}): Promise<Page<Channel>> {
    const request = pageRequest(filter);
    const { channels, nextPageToken } = await callRepeatedly(this.connection, Methods.listChannels, request, filter);
    return { items: channels, nextPageToken };
  }

  /** Lists all clients, page after page. */
  allClients(filter: Omit<ClientFilter, 'pageToken'> = {}): AsyncGenerator<ClientInfo, void, undefined> {
    return itemsOf((pageToken) => this.listClients({ ...filter, pageToken }));
  }

  /** Lists all channels and patterns, page after page. */
  allChannels(filter: Omit<ChannelFilter, 'pageToken'> = {}): AsyncGenerator<Channel, void, undefined> {
    return itemsOf((pageToken) => this.listChannels({ ...filter, pageToken }));
  }

  /**
   * Begins a planned stop and answers at once with how many streams were notified.
   *
   * @param graceMs how long to wait for streams to end before they are cut, in milliseconds. Default: the server's.
   */
  async drain(graceMs?: number, options?: CallOptions): Promise<number> {
    const request = { grace: graceMs === undefined ? undefined : durationOf(graceMs) };
    const timeoutMs = options?.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    return (await callOnce(this.connection, Methods.drain, request, timeoutMs)).streams;
  }

  /** Closes the connection. */
  close(): void {
    this.connection.client.close();
  }
}

function pageRequest(filter: ChannelFilter) {
  const { pageSize = 0, pageToken = '', channelPattern = '' } = filter;
  return { pageSize, pageToken, channelPattern };
}
