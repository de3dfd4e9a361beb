import { Master } from '..';

export = Master;
