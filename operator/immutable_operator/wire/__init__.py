"""This product's objects on the wire: conversion between bytes and domain types."""
