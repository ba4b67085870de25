// How messages reach a connected client's socket.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Message } from '../generated/pixied/v1/message';
import type { AttachHandlers, DeliveryInfo } from '../src/attachment';
import { ConnectedClients } from '../src/faye/connected_clients';
import type { FayeServer } from '../src/faye/server';
import type { FrontEnd } from '../src/front_end';

const INFO: DeliveryInfo = { number: 1, stream: 1, redelivered: false, cursor: 1 };
const message = (data: string): Message => ({ channel: '/a', data }) as Message;

/** A client on a socket, and the steps in which its messages are handed over. */
function connected(deliver: () => boolean = () => true) {
  const steps: string[] = [];
  let handlers: AttachHandlers = {};
  const stream = { cork: () => void steps.push('cork'), uncork: () => void steps.push('uncork') };
  const server: Partial<FayeServer> = {
    bind() {},
    connection: () => ({ socket: { _socket: { readyState: 1, _stream: stream } } }),
    deliver(_clientId, messages) {
      steps.push(`${messages.length} messages`);
      return deliver();
    },
  };
  const frontEnd = {
    attach(_clientId: string, _options: object, given: AttachHandlers) {
      handlers = given;
      return { isExplicit: false };
    },
  };
  const clients = new ConnectedClients(server as FayeServer, frontEnd as unknown as FrontEnd, () => {});
  clients.open('alice');
  return { steps, deliver: (...messages: Message[]) => handlers.onMessages!(messages, INFO) };
}

test('the messages of one delivery leave in one write', async () => {
  const { steps, deliver } = connected();
  await deliver(message('1'), message('2'));
  assert.deepEqual(steps, ['cork', '2 messages', 'uncork']);
});

test('a single message is not held up', async () => {
  const { steps, deliver } = connected();
  await deliver(message('1'));
  assert.deepEqual(steps, ['1 messages']);
});

test('a socket whose delivery fails is not held for ever', () => {
  const { steps, deliver } = connected(() => {
    throw new Error('an extension failed');
  });
  assert.throws(() => deliver(message('1'), message('2')));
  assert.deepEqual(steps, ['cork', '2 messages', 'uncork']);
});
