'use strict';

// A framework that is Egg itself, but whose `startCluster` is that of egg-cluster-rs. Tools such as egg-scripts call
// `require(framework).startCluster(options)`; with this they start the native master, and no application changes.

const egg = require('egg');
// In an application: require('egg-cluster-rs').
const { startCluster } = require('../..');

/** Where Egg's loader looks for this framework's own config and plugins. */
const EGG_PATH = Symbol.for('egg#eggPath');

class Application extends egg.Application {
  get [EGG_PATH]() {
    return __dirname;
  }
}

class Agent extends egg.Agent {
  get [EGG_PATH]() {
    return __dirname;
  }
}

exports.Application = Application;
exports.Agent = Agent;
exports.Controller = egg.Controller;
exports.Service = egg.Service;
exports.startCluster = startCluster;
