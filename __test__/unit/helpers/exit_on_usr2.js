'use strict';

process.once('SIGUSR2', () => process.exit(3));
