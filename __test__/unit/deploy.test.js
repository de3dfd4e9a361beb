'use strict';

// The files in deploy/ and docs/deploy.md: whether their formats are right, and their numbers belong together.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const vm = require('vm');
const { spawnSync } = require('child_process');
const test = require('./helpers/test');
const { withEnv } = require('./helpers/app');

const { nativeConfig } = require('../../lib/native_config');

const ROOT = path.join(__dirname, '../..');
const read = name => fs.readFileSync(path.join(ROOT, name), 'utf8');
const DOCKERFILES = [ 'deploy/docker/Dockerfile', 'deploy/docker/Dockerfile.alpine' ];
/** What a process has beside its heap, and the master, in MiB. */
const BESIDE_HEAP = 96;
const MASTER = 128;
/** What the master adds to the time that it asks a service manager for, in s. */
const MARGIN = 5;
/** What a worker of the application may take to start, in s. */
const BOOT = 30;

/** The options that start.js gives to startCluster where the environment says nothing. */
function startOptions() {
  const file = path.join(ROOT, 'deploy/start.js');
  let options = null;
  const startCluster = given => {
    options = given;
    return Promise.resolve();
  };
  const packages = { 'egg-cluster-rs': { startCluster }, path };
  const load = Object.assign(name => packages[name], { resolve: name => path.join('/modules', name) });
  const run = vm.runInThisContext(`(function(require, __dirname, process) {${read('deploy/start.js')}\n})`, { filename: file });
  run(load, path.dirname(file), { env: {}, exit: assert.fail });
  assert.ok(options, 'start.js starts no cluster');
  return options;
}

/** How long a close may take at most, and when a worker counts as hung, in s. */
function times(t) {
  withEnv(t, { EGG_MASTER_CLOSE_TIMEOUT: undefined, EGG_APP_CLOSE_TIMEOUT: undefined, EGG_AGENT_CLOSE_TIMEOUT: undefined,
    EGG_CLUSTER_RS_DRAIN_TIMEOUT: undefined });
  const config = nativeConfig({
    options: startOptions(), isProduction: true, agentWorkerFile: '/a.js', appWorkerFile: '/b.js', isEgg3Worker: true, warn: assert.fail,
  });
  const { timeoutMs, websocketTimeoutMs } = config.drain;
  return {
    close: (Math.max(timeoutMs, websocketTimeoutMs) + config.appCloseTimeoutMs + config.agentCloseTimeoutMs) / 1000,
    hung: config.watchdog.timeoutMs / 1000,
  };
}

/** `[ [ key, value ] ]` of a unit. */
function unit(name) {
  const lines = read(name).split('\n').filter(line => /^\w+=/.test(line));
  return lines.map(line => [ line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1) ]);
}

const service = Object.fromEntries(unit('deploy/systemd/egg-app.service'));
const environment = Object.fromEntries(unit('deploy/systemd/egg-app.service')
  .filter(([ key ]) => key === 'Environment')
  .map(([ , value ]) => [ value.slice(0, value.indexOf('=')), value.slice(value.indexOf('=') + 1) ]));
const sockets = Object.fromEntries(unit('deploy/systemd/egg-app.socket'));

function manifests() {
  const { parseAllDocuments } = require('yaml');
  return parseAllDocuments(read('deploy/kubernetes/egg-app.yaml')).map(document => {
    assert.deepStrictEqual(document.errors.concat(document.warnings), []);
    return document.toJS();
  });
}

function manifest(kind) {
  return manifests().find(document => document.kind === kind);
}

function container() {
  return manifest('Deployment').spec.template.spec.containers[0];
}

const podEnv = () => Object.fromEntries(container().env.map(({ name, value }) => [ name, value ]));

/** In MiB. */
function memory(text) {
  const [ , number, unitName ] = /^(\d+)([MG])i?$/.exec(text);
  return Number(number) * (unitName === 'G' ? 1024 : 1);
}

function wantedMemory({ WORKERS: workers, NODE_OPTIONS: options }) {
  const [ , heap ] = /--max-old-space-size=(\d+)/.exec(options);
  return (Number(workers) + 2) * (Number(heap) + BESIDE_HEAP) + MASTER;
}

test('the service waits for the longest close, and lets the workers drain', t => {
  const { close } = times(t);
  assert.ok(Number(service.TimeoutStopSec) > close + MARGIN, `${service.TimeoutStopSec} > ${close} + ${MARGIN}`);
  // By the default all processes get SIGTERM at once.
  assert.strictEqual(service.KillMode, 'mixed');
  // By the default one worker that is killed for want of memory ends the whole unit.
  assert.strictEqual(service.OOMPolicy, 'continue');
});

test('the service is restarted for hung workers only when the master has not helped', t => {
  const { hung } = times(t);
  assert.ok(Number(service.WatchdogSec) >= hung + BOOT, `${service.WatchdogSec} >= ${hung} + ${BOOT}`);
  assert.ok(Number(service.TimeoutStartSec) >= 2 * BOOT, 'the agent, then the workers');
});

test('the pod waits for preStop and the longest close', t => {
  const { close } = times(t);
  const { terminationGracePeriodSeconds: grace } = manifest('Deployment').spec.template.spec;
  const [ command, seconds ] = container().lifecycle.preStop.exec.command;
  assert.strictEqual(command, 'sleep');
  assert.ok(grace > Number(seconds) + close + MARGIN, `${grace} > ${seconds} + ${close} + ${MARGIN}`);
});

test('a start has its time, and a pod that turns is not restarted for others\' faults', () => {
  const { startupProbe, readinessProbe, livenessProbe } = container();
  assert.ok(startupProbe.periodSeconds * startupProbe.failureThreshold >= 2 * BOOT);
  assert.deepStrictEqual([ startupProbe, readinessProbe, livenessProbe ].map(({ httpGet }) => httpGet), [
    { path: '/readyz', port: 'probes' }, { path: '/readyz', port: 'probes' }, { path: '/healthz', port: 'probes' },
  ]);
  for (const { timeoutSeconds, periodSeconds } of [ startupProbe, readinessProbe, livenessProbe ]) assert.ok(timeoutSeconds <= periodSeconds);
  assert.ok(livenessProbe.periodSeconds * livenessProbe.failureThreshold > readinessProbe.periodSeconds * readinessProbe.failureThreshold);
});

test('a rollout and an emptied node leave pods that serve', () => {
  const { replicas, strategy } = manifest('Deployment').spec;
  assert.deepStrictEqual(strategy.rollingUpdate, { maxSurge: 1, maxUnavailable: 0 });
  assert.ok(replicas > manifest('PodDisruptionBudget').spec.maxUnavailable);
  const { selector } = manifest('Service').spec;
  assert.deepStrictEqual(manifest('Deployment').spec.template.metadata.labels, selector);
  assert.deepStrictEqual(manifest('PodDisruptionBudget').spec.selector.matchLabels, selector);
});

test('what all processes may use is within the limit of memory', () => {
  assert.ok(wantedMemory(environment) <= memory(service.MemoryMax), `${wantedMemory(environment)} <= ${service.MemoryMax}`);
  const { limits } = container().resources;
  assert.ok(wantedMemory(podEnv()) <= memory(limits.memory), `${wantedMemory(podEnv())} <= ${limits.memory}`);
});

test('ports and paths are the same wherever they stand', () => {
  const options = startOptions();
  assert.strictEqual(sockets.ListenStream, `[::]:${environment.PORT}`);
  assert.strictEqual(Number(environment.PORT), options.port);
  assert.strictEqual(environment.PROBES, `127.0.0.1:${options.control.tcp}`);
  const port = name => container().ports.find(it => it.name === name).containerPort;
  assert.deepStrictEqual([ port('http'), port('probes') ], [ options.port, options.control.tcp ]);
  assert.deepStrictEqual([ podEnv().PORT, podEnv().PROBES ], [ String(port('http')), `0.0.0.0:${port('probes')}` ]);
  assert.strictEqual(manifest('Service').spec.ports[0].targetPort, 'http');
  for (const name of DOCKERFILES) {
    const text = read(name);
    assert.match(text, new RegExp(`^EXPOSE ${options.port} ${options.control.tcp}$`, 'm'));
    assert.match(text, new RegExp(`^ENV .*PORT=${options.port} PROBES=0\\.0\\.0\\.0:${options.control.tcp}$`, 'm'));
    assert.match(text, new RegExp(`^HEALTHCHECK .*127\\.0\\.0\\.1:${options.control.tcp}/readyz`, 'm'));
  }
  assert.strictEqual(environment.EGG_HOME, `/var/lib/${service.StateDirectory}`);
  assert.ok(environment.EGG_CLUSTER_RS_CONTROL.startsWith(`/run/${service.RuntimeDirectory}/`));
  assert.ok(service.ExecReload.endsWith(`--socket ${environment.EGG_CLUSTER_RS_CONTROL}`));
});

test('the manifests fit the schemas of Kubernetes', () => {
  const models = {
    Deployment: 'apps/v1/Deployment', Service: 'v1/Service', PodDisruptionBudget: 'policy/v1/PodDisruptionBudget',
  };
  for (const document of manifests()) {
    const Model = require(`kubernetes-models/${models[document.kind]}`)[document.kind];
    new Model(document).validate();
  }
  // The schemas allow members that are not known; the types do not.
  assert.deepStrictEqual(typeErrors(manifests(), models), []);
  const misspelt = manifest('Deployment');
  misspelt.spec.template.spec.containers[0].readinessProbe.periodSecond = 5;
  assert.match(typeErrors([ misspelt ], models).join(), /'"periodSecond"' does not exist/);
});

/** What TypeScript says of objects that are written out as literals. */
function typeErrors(documents, models) {
  const ts = require('typescript');
  const file = path.join(ROOT, 'manifests.ts');
  const lines = documents.map((document, i) => {
    const type = `I${document.kind}`;
    return `import { ${type} as T${i} } from 'kubernetes-models/${models[document.kind]}';\nexport const m${i}: T${i} = ${JSON.stringify(document)};`;
  });
  const options = { noEmit: true, strict: true, skipLibCheck: true, types: [], moduleResolution: ts.ModuleResolutionKind.NodeJs };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = name => name === file || fileExists(name);
  host.getSourceFile = (name, ...rest) => (name === file
    ? ts.createSourceFile(name, lines.join('\n'), ts.ScriptTarget.ES2020)
    : getSourceFile(name, ...rest));
  const program = ts.createProgram([ file ], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

for (const name of DOCKERFILES) {
  test(`${name} is well-formed, and what it names is there`, () => {
    const { validate } = require('dockerfile-utils');
    const text = read(name);
    assert.deepStrictEqual(validate(text).map(({ message }) => message), []);
    const lines = text.split('\n').filter(line => /^[A-Z]+ /.test(line));
    const [ first, second, ...others ] = lines.filter(line => line.startsWith('FROM '));
    assert.deepStrictEqual([ first, others ], [ `${second} AS dependencies`, [] ]);
    const [ , script ] = JSON.parse(lines[lines.length - 1].replace(/^CMD /, ''));
    assert.ok(fs.existsSync(path.join(ROOT, 'deploy', script)));
    // The last user is who runs it, and has the number that the manifest says.
    assert.deepStrictEqual(lines.filter(line => line.startsWith('USER ')), [ 'USER node' ]);
    assert.strictEqual(manifest('Deployment').spec.template.spec.securityContext.runAsUser, 1000);
    const [ , workdir ] = lines.filter(line => line.startsWith('WORKDIR ')).pop().split(' ');
    const mounts = container().volumeMounts.map(({ mountPath }) => mountPath);
    assert.ok(mounts.includes(`${workdir}/run`) && /^RUN mkdir -p run /m.test(text));
    assert.ok(read('deploy/docker/.dockerignore').split('\n').includes('node_modules'));
  });
}

test('the two images differ in their base only', () => {
  const [ glibc, musl ] = DOCKERFILES.map(name => read(name).split('\n').filter(line => !line.startsWith('#')).join('\n'));
  assert.strictEqual(glibc.replace(/node:22-bookworm-slim/g, 'node:22-alpine'), musl);
});

test('systemd takes the units', { skip: spawnSync('systemd-analyze', [ '--version' ]).status !== 0 && 'there is no systemd-analyze' }, t => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-units-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const units = [ 'egg-app.service', 'egg-app.socket' ].map(name => {
    const file = path.join(dir, name);
    // Node is elsewhere on some machines.
    fs.writeFileSync(file, read(`deploy/systemd/${name}`).replace(/\/usr\/bin\/node/g, process.execPath));
    return file;
  });
  const { status, stderr } = spawnSync('systemd-analyze', [ '--man=no', 'verify', ...units ], { encoding: 'utf8' });
  assert.deepStrictEqual([ status, stderr.split('\n').filter(line => line.includes('egg-app')) ], [ 0, [] ]);
});

test('docs/deploy.md gives the numbers that the files have', () => {
  const text = read('docs/deploy.md');
  const pod = manifest('Deployment').spec.template.spec;
  const { startupProbe, readinessProbe, livenessProbe } = container();
  const probe = ({ periodSeconds, failureThreshold }) => `${periodSeconds} s * ${failureThreshold}`;
  for (const part of [
    ...[ 'TimeoutStopSec', 'TimeoutStartSec', 'WatchdogSec', 'MemoryMax', 'LimitNOFILE', 'KillMode', 'OOMPolicy' ].map(key => `${key}=${service[key]}`),
    `Backlog=${sockets.Backlog}`,
    `drain.timeout: ${startOptions().drain.timeout}`,
    `terminationGracePeriodSeconds: ${pod.terminationGracePeriodSeconds}`,
    `preStop: sleep ${container().lifecycle.preStop.exec.command[1]}`,
    `startupProbe: ${probe(startupProbe)}`, `readinessProbe: ${probe(readinessProbe)}`, `livenessProbe: ${probe(livenessProbe)}`,
    `limits.memory: ${container().resources.limits.memory}`,
  ]) {
    assert.ok(text.includes(`\`${part}\``), `${part} in docs/deploy.md`);
  }
});
