'use strict';

// The least WebSocket that a load can do with, so that the servers are what is measured: text frames, unfragmented.

const { randomBytes } = require('node:crypto');
const net = require('node:net');

const TEXT = 0x81;
const PONG = 0x8a;
// A client has to mask what it sends (RFC 6455, 5.3); with a mask of zeros it may stay as it is.
const MASK = Buffer.alloc(4);
const MASKED = 0x80;

class Socket {
  /** @param port of 127.0.0.1 @param onText is called with each text that comes */
  constructor(port, onText) {
    this.onText = onText;
    this.rest = Buffer.alloc(0);
    this.isOpen = false;
    this.mayClose = false;
    this.closed = new Promise((resolve) => (this.wasClosed = resolve));
    this.open = new Promise((resolve, reject) => {
      this.opened = resolve;
      this.stream = net.connect(port, '127.0.0.1', () => this.upgrade());
      this.stream.setNoDelay(true).on('data', (data) => this.take(data)).on('error', reject).on('close', () => this.close());
    });
  }

  send(text) {
    this.write(TEXT, Buffer.from(text));
  }

  upgrade() {
    const lines = [
      'GET /faye HTTP/1.1',
      'Host: 127.0.0.1',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      'Sec-WebSocket-Version: 13',
    ];
    this.stream.write(`${lines.join('\r\n')}\r\n\r\n`);
  }

  write(kind, payload) {
    const { length } = payload;
    const head = length < 126 ? Buffer.from([kind, MASKED | length]) : Buffer.from([kind, MASKED | 126, length >> 8, length & 255]);
    this.stream.write(Buffer.concat([head, MASK, payload]));
  }

  take(data) {
    this.rest = this.rest.length > 0 ? Buffer.concat([this.rest, data]) : data;
    if (!this.isOpen && !this.accepted()) return;
    let at = 0;
    for (let end; (end = this.frame(at)) > 0; ) at = end;
    this.rest = this.rest.subarray(at);
  }

  close() {
    if (!this.mayClose) throw new Error('a server closed a WebSocket');
    this.wasClosed();
  }

  accepted() {
    const end = this.rest.indexOf('\r\n\r\n');
    if (end < 0) return false;
    if (!this.rest.toString('latin1', 0, end).startsWith('HTTP/1.1 101')) throw new Error('no WebSocket was opened');
    this.rest = this.rest.subarray(end + 4);
    this.isOpen = true;
    this.opened();
    return true;
  }

  /** Reads the frame at a place. Returns where it ends, or 0 if it has not come as a whole. */
  frame(at) {
    const { rest } = this;
    if (rest.length < at + 2) return 0;
    let length = rest[at + 1];
    let begin = at + 2;
    if (length === 126) {
      if (rest.length < at + 4) return 0;
      length = rest.readUInt16BE(at + 2);
      begin = at + 4;
    } else if (length === 127) {
      if (rest.length < at + 10) return 0;
      length = Number(rest.readBigUInt64BE(at + 2));
      begin = at + 10;
    }
    const end = begin + length;
    if (rest.length < end) return 0;
    const kind = rest[at] & 15;
    if (kind === 1) this.onText(rest.toString('utf8', begin, end));
    else if (kind === 9) this.write(PONG, rest.subarray(begin, end));
    else if (kind === 8) this.close();
    return end;
  }
}

exports.Socket = Socket;
