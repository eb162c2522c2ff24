#!/bin/sh
/usr/bin/dumb-init --rewrite 15:0 -- puma -b tcp://0.0.0.0:8080 /app/config.ru
