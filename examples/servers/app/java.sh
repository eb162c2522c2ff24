#!/bin/sh
# Compiles, which is the image's job elsewhere; then the virtual machine takes the
# place of the shell.
java -cp /usr/share/java/eclipse-jdt-core.jar org.eclipse.jdt.internal.compiler.batch.Main -17 -proc:none -nowarn -d /tmp App.java
exec java -Xmx64m -cp /tmp App
