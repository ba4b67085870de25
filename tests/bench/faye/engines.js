'use strict';

// The engines that are compared, as options of a Faye server: each with the best settings that are known for it, and
// both remote ones over a Unix socket.

const ENGINES = {
  pixied: (address) => ({ type: require('pixied-client/faye'), address }),
  redis: (socket) => ({ type: require('faye-redis'), socket }),
  memory: () => undefined,
};

/** @param {'pixied' | 'redis' | 'memory'} kind @param {string} where it is reached, if it is another process */
exports.engine = (kind, where) => ENGINES[kind](where);
