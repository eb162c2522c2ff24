#!/bin/sh
sleep 3
printf 'Content-Type: text/plain\n\ndone\n'
