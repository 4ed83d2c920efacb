#!/usr/bin/env node
// `knox <verb>`: starts scripts/knox.ts, whatever the current folder is
import { register } from 'tsx/esm/api'

register()
await import('./knox.ts')
