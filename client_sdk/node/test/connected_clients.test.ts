// Which of Faye's connections hold their clients attached, and when what they wrote is confirmed.
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';

import { status as Code } from '@grpc/grpc-js';

import { ClientUnknown, LimitClients } from '../src';
import type { Attachment, AttachHandlers, AttachOptions, DeliveryInfo, Detached, Message } from '../src';
import { ConnectedClients } from '../src/faye/connected_clients';
import type { FayeConnection, FayeMessage, FayeServer } from '../src/faye/server';
import type { FrontEnd } from '../src/front_end';
import { turn } from './scripted';

const info = (number: number): DeliveryInfo => ({ number, stream: 1, redelivered: false, cursor: number });
const message = (data: number): Message => ({ channel: '/a', data: String(data) }) as Message;
const SOCKET: FayeConnection = { socket: { _socket: { readyState: 1 } } };
const CLOSED_SOCKET: FayeConnection = { socket: { _socket: { readyState: 3 } } };
const POLL: FayeConnection = { socket: null };

/** A client that was attached. */
interface Attached {
  readonly clientId: string;
  readonly options: AttachOptions;
  readonly handlers: AttachHandlers;
}

describe('connected clients', () => {
  let connections: Map<string, FayeConnection>;
  let attached: Attached[];
  /** What happened, in order. */
  let steps: string[];
  let log: string[];
  let gone: string[];
  let clients: ConnectedClients;
  /** What Faye calls when a connection is opened or closed. */
  let listeners: Map<string, (clientId: string) => void>;

  beforeEach(() => {
    connections = new Map();
    listeners = new Map();
    [attached, steps, log, gone] = [[], [], [], []];
    const note = (text: string, ...values: readonly unknown[]): void => void log.push([text, ...values].join('|'));
    const server: Partial<FayeServer> = {
      bind: (event, listener, context) => void listeners.set(event, listener.bind(context)),
      unbind: (event) => void listeners.delete(event),
      warn: note,
      error: note,
      hasConnection: (clientId) => connections.has(clientId),
      connection(clientId: string, create: boolean) {
        assert.equal(create, false);
        return connections.get(clientId);
      },
      deliver(_clientId: string, messages: readonly FayeMessage[]) {
        steps.push(`deliver ${messages.map(({ data }) => String(data)).join(' ')}`);
        return true;
      },
      flushConnection: (clientId) => void steps.push(`flush ${clientId}`),
    };
    const frontEnd = {
      attach(clientId: string, options: AttachOptions, handlers: AttachHandlers): Partial<Attachment> {
        attached.push({ clientId, options, handlers });
        return {
          isExplicit: options.ackMode === 'explicit',
          confirm: ({ number }) => void steps.push(`confirm ${number}`),
          detach: () => void steps.push(`detach ${clientId}`),
        };
      },
    };
    clients = new ConnectedClients(server as FayeServer, frontEnd as unknown as FrontEnd, (clientId) => void gone.push(clientId));
  });

  const bring = (number: number) => attached.at(-1)!.handlers.onMessages!([message(number)], info(number));
  const end = (detached: Partial<Detached>): void => attached.at(-1)!.handlers.onDetached!({ detail: '', ...detached } as Detached);
  const happens = (event: 'open' | 'close', clientId: string): void => listeners.get(`connection:${event}`)!(clientId);
  const unknown = new ClientUnknown('CLIENT_UNKNOWN', 'no client', { code: Code.NOT_FOUND });

  function open(connection: FayeConnection): void {
    connections.set('ann', connection);
    clients.open('ann');
  }

  function close(): void {
    connections.delete('ann');
    happens('close', 'ann');
  }

  it('of sockets and polls confirm in their own ways, and count silence themselves', () => {
    open(SOCKET);
    connections.set('bob', POLL);
    clients.open('bob');
    clients.open('nobody');
    assert.deepEqual(
      attached.map(({ clientId, options }) => [clientId, options]),
      [
        ['ann', { ackMode: 'auto', expires: true }],
        ['bob', { ackMode: 'explicit', expires: true }],
        ['nobody', { ackMode: 'explicit', expires: true }],
      ],
    );
  });

  it('attach their client once', async () => {
    open(SOCKET);
    open(SOCKET);
    assert.equal(attached.length, 1);
    close();
    open(SOCKET);
    assert.equal(attached.length, 1);
    await turn();
    assert.deepEqual([attached.length, steps], [2, ['detach ann']]);
  });

  it('of sockets attach as soon as they are there, if they have the name that a client may have', async () => {
    for (const clientId of ['ann', 'poll', 'Not-an-id']) {
      connections.set(clientId, clientId === 'poll' ? POLL : SOCKET);
      happens('open', clientId);
    }
    happens('open', 'nobody');
    assert.deepEqual(attached, []);
    await turn();
    assert.deepEqual(attached.map(({ clientId }) => clientId), ['ann']);
    assert.deepEqual(clients.clientIds, []);
    open(SOCKET);
    assert.deepEqual([attached.length, clients.clientIds], [1, ['ann']]);
    happens('open', 'ann');
    await turn();
    assert.deepEqual(clients.clientIds, ['ann']);
  });

  it('of sockets confirm what was written in a turn when that is over', async () => {
    open(SOCKET);
    let isDone = false;
    const [first, second] = [bring(1), bring(2)];
    assert.equal(first, second);
    void first!.then(() => (isDone = true));
    await Promise.resolve();
    assert.equal(isDone, false);
    await turn();
    await turn();
    assert.deepEqual([isDone, steps], [true, ['deliver 1', 'deliver 2']]);
    assert.notEqual(bring(3), first);
  });

  it('of polls confirm what they brought when the response is complete, and no more', async () => {
    open(POLL);
    assert.equal(bring(1), undefined);
    bring(2);
    await turn();
    assert.deepEqual(steps.splice(0), ['deliver 1', 'deliver 2']);
    close();
    assert.equal(bring(3), undefined);
    assert.deepEqual(steps, []);
    await turn();
    assert.deepEqual(steps, ['confirm 2', 'detach ann']);
    close();
    await turn();
    assert.equal(steps.length, 2);
  });

  it('of polls that become sockets confirm at the end of the turn', async () => {
    open(POLL);
    connections.set('ann', SOCKET);
    bring(1);
    assert.deepEqual(steps, ['deliver 1']);
    await turn();
    assert.deepEqual(steps, ['deliver 1', 'confirm 1']);
    close();
    await turn();
    assert.deepEqual(steps, ['deliver 1', 'confirm 1', 'detach ann']);
  });

  it('that come again at once attach their client when it has been detached', async () => {
    open(POLL);
    bring(1);
    close();
    connections.set('ann', POLL);
    await turn();
    assert.deepEqual([steps, attached.length], [['deliver 1', 'confirm 1', 'detach ann'], 2]);
    assert.deepEqual(clients.clientIds, ['ann']);
  });

  it('that are not there take nothing', async () => {
    open(SOCKET);
    for (const connection of [undefined, CLOSED_SOCKET]) {
      if (connection) connections.set('ann', connection);
      else connections.delete('ann');
      assert.throws(() => bring(1), /ann…/);
    }
    connections.set('ann', SOCKET);
    happens('close', 'ann');
    assert.throws(() => bring(2), /ann…/);
    await turn();
    assert.deepEqual(steps, ['detach ann']);
  });

  it('log what their client has lost', () => {
    open(SOCKET);
    attached[0]!.handlers.onGap!({ lost: 7, channel: '/a' } as never);
    assert.deepEqual(log, ['Client ? lost ? messages of ?|ann…|7|/a']);
  });

  it('end when another one takes the client', () => {
    open(POLL);
    end({ reason: 'taken_over' });
    assert.deepEqual([steps, clients.clientIds], [['flush ann'], []]);
  });

  it('whose session is over wait for its event', () => {
    for (const reason of ['destroyed', 'expired'] as const) {
      open(POLL);
      end({ reason });
    }
    assert.deepEqual([steps, log, clients.clientIds, attached.length], [[], [], ['ann'], 1]);
  });

  it('stay when the client cannot be attached, and say so', () => {
    open(POLL);
    end({ reason: 'failed', detail: 'no room', error: new LimitClients('LIMIT_CLIENTS', 'no room', { code: 8 }) });
    assert.deepEqual([log, steps, gone, clients.clientIds], [['Client ? could not be attached: ?|ann…|no room'], [], [], []]);
    open(POLL);
    assert.equal(attached.length, 2);
  });

  it('of a client that is gone say so, unless nobody has asked for it', async () => {
    open(POLL);
    end({ reason: 'failed', detail: 'no client', error: unknown });
    assert.deepEqual([gone, log], [['ann'], []]);
    happens('open', 'bob');
    connections.set('bob', SOCKET);
    await turn();
    end({ reason: 'failed', detail: 'no client', error: unknown });
    assert.deepEqual([gone, log], [['ann'], []]);
  });

  it('that could not take a message say so, unless they are not there', () => {
    open(SOCKET);
    end({ reason: 'refused', error: new Error('an extension failed') });
    assert.deepEqual(log.splice(0), ['Messages of client ? could not be delivered: ?|ann…|Error: an extension failed']);
    open(SOCKET);
    connections.delete('ann');
    let error: unknown;
    try {
      void bring(1);
    } catch (thrown) {
      error = thrown;
    }
    end({ reason: 'refused', error });
    open(SOCKET);
    end({ reason: 'requested' });
    assert.deepEqual([log, gone, steps], [[], [], []]);
  });

  it('ignore the end of an attachment that is not theirs any more', async () => {
    open(POLL);
    const [first] = attached;
    close();
    await turn();
    open(POLL);
    first!.handlers.onDetached!({ reason: 'taken_over', detail: '' });
    assert.deepEqual([steps, clients.clientIds], [['detach ann'], ['ann']]);
  });

  it('write with what they have of a stream', async () => {
    const bringTwo = () => attached.at(-1)!.handlers.onMessages!([message(1), message(2)], info(1));
    for (const connection of [{ socket: {} }, { socket: { _socket: {} } }, { socket: { _socket: { _stream: {} } } }]) {
      open(connection as FayeConnection);
      void bringTwo();
      close();
      await turn();
    }
    open(POLL);
    void bringTwo();
    assert.equal(steps.filter((step) => step === 'deliver 1 2').length, 4);
  });

  it('are not listened to after the end', () => {
    assert.deepEqual([...listeners.keys()], ['connection:open', 'connection:close']);
    clients.dispose();
    assert.deepEqual([...listeners.keys()], []);
  });
});
